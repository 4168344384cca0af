-- Marks a token as revoked; a repeated revocation may lengthen the mark.
--
-- KEYS  1 the place's memory, 2 the revocation
-- ARGV  1 this server process, 2 now (µs), 3 its end (µs), or "-" for good

local kept = redis.call('GET', KEYS[2])
local before = kept and (kept == '-' or now < tonumber(kept))
if ARGV[3] == '-' or (before and kept == '-') then
  redis.call('SET', KEYS[2], '-')
else
  local ends = tonumber(ARGV[3])
  if before then
    ends = math.max(ends, tonumber(kept))
  end
  set(KEYS[2], string.format('%.0f', ends), ends)
end
return {before and 'before' or 'now'}
