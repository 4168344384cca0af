-- The head of every script that relies on the memory of a place.
--
-- KEYS  1 the place's memory
-- ARGV  1 this server process, 2 now (µs)

local now = tonumber(ARGV[2])
local memory = redis.call('HMGET', KEYS[1], 'run', 'since', 'second')
if memory[1] ~= ARGV[1] then
  return {'strange'}
end

local function by_the_server()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Redis forgets a mark a minute after its end by its own clock, so that a replica
-- whose clock is late still finds it, and one whose clock is early doesn't let it
-- end for the others. (By the caller's clock, where that one is later still.)
local function set(key, value, ends)
  local lives = math.ceil((ends - math.min(now, by_the_server())) / 1000) + 60000
  redis.call('SET', key, value, 'PX', string.format('%.0f', lives))
end

-- Whether a mark with this end, had it been set, would still be here. It would,
-- unless its end has passed by the server's clock although it has not by the
-- caller's: then one of them was put forward or back.
local function remembers(ends)
  return ends > by_the_server()
end
