-- `limits::spend`, in Lua; `tests/store/gcra.rs` holds one against the other.
-- What is kept of a limit is its theoretical arrival time (µs). Doubles are exact
-- up to 2^53 µs, the year 2255.
--
-- Spends one unit of each limit, all or none. `first` is the position of the
-- first limit's key, `argument` that of its interval (µs), which its refill (µs)
-- follows. A limit named twice spends two. Answers what must be kept, or nil, how
-- long until all have room, and the position of the limit that has it last. Whoever uses it has said what `now` is.

local function spend_all(first, argument)
  local arrivals, wait, last = {}, nil, nil
  for at = first, #KEYS do
    local interval = tonumber(ARGV[argument])
    local full = now + tonumber(ARGV[argument + 1])
    argument = argument + 2
    local kept = arrivals[KEYS[at]] or tonumber(redis.call('GET', KEYS[at]) or '')
    local start = now
    if kept and kept > now and kept <= full + 60000000 then
      start = kept
    end
    local arrival = start + interval
    if arrival <= full then
      arrivals[KEYS[at]] = arrival
    elseif not wait or arrival - full > wait then
      wait, last = arrival - full, at - first
    end
  end
  if wait then
    return nil, wait, last
  end
  return arrivals
end

local function keep_all(arrivals)
  for key, arrival in pairs(arrivals) do
    redis.call('SET', key, string.format('%.0f', arrival),
      'PX', string.format('%.0f', math.ceil((arrival - now) / 1000) + 60000))
  end
end
