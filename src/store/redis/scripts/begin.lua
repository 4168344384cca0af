-- From when on the memory of a place is whole.
--
-- KEYS  1 the place's memory
-- ARGV  1 this server process, 2 now (µs), 3 "1" if whoever calls has known this memory before,
--       4 "announce" or "begin"
--
-- The memory names the server process that kept it. Kept by another one, or not
-- at all, it may have lost something: it begins anew, now. Now is the later of
-- the caller's clock and the server's, where they are no more than a minute
-- apart, so that a replica whose clock is late doesn't let it begin too early.
--
-- Where what is written waits for replicas, it is announced first, and that is waited
-- for: a replica that follows this server has left the one before it. As long as
-- that one was followed, it could redeem what this one knows nothing of.
--
-- Answers 0 if the memory is whole, 1 if it began anew, 2 if it is announced; and the
-- server's clock (µs).

local time = redis.call('TIME')
local server = tonumber(time[1]) * 1000000 + tonumber(time[2])
local memory = redis.call('HMGET', KEYS[1], 'run', 'since', 'second')
if memory[1] == ARGV[1] then
  return {0, server}
end
if ARGV[4] == 'announce' then
  redis.call('HSET', KEYS[1], 'announced', ARGV[1])
  return {2, server}
end

local since = tonumber(ARGV[2])
if server > since and server - since <= 60000000 then
  since = server
end
-- It never begins earlier than it did.
if memory[2] and tonumber(memory[2]) > since then
  since = tonumber(memory[2])
end
-- ID tokens know whole seconds. Where marks were known and are gone, one that was
-- issued in this very second may have been redeemed in it.
local second = math.floor(since / 1000000)
if (memory[1] or ARGV[3] == '1') and since % 1000000 > 0 then
  second = second + 1
end
if memory[3] and tonumber(memory[3]) > second then
  second = tonumber(memory[3])
end
redis.call('HSET', KEYS[1], 'run', ARGV[1],
  'since', string.format('%.0f', since), 'second', string.format('%.0f', second))
return {1, server}
