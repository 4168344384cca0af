-- Gives back one unit of each limit, which was spent for nothing.
--
-- KEYS  the limits
-- ARGV  1 this server process, 2 now (µs), 3… each limit's interval (µs)

for at, key in ipairs(KEYS) do
  local kept = tonumber(redis.call('GET', key) or '')
  if kept then
    local arrival = kept - tonumber(ARGV[at + 2])
    if arrival > now then
      redis.call('SET', key, string.format('%.0f', arrival), 'KEEPTTL')
    else
      redis.call('DEL', key)
    end
  end
end
return {'done'}
