-- Gives a claim back, where this holder still has it.
--
-- KEYS  1 the claim
-- ARGV  1 this server process, 2 now (µs), 3 the holder

if redis.pcall('GET', KEYS[1]) == ARGV[3] then
  redis.call('DEL', KEYS[1])
end
return {'done'}
