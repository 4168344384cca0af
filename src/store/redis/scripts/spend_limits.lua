-- Spends one unit of each limit, all or none.
--
-- KEYS  the limits
-- ARGV  1 this server process, 2 now (µs), 3… each limit's interval and refill (µs)

local arrivals, wait, last = spend_all(1, 3)
if not arrivals then
  return {'beyond', wait, last}
end
keep_all(arrivals)
return {'within'}
