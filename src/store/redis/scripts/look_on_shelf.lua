-- What lies on the shelf.
--
-- KEYS  1 the key set
-- ARGV  1 this server process, 2 now (µs), 3 how many bytes of it at most
--
-- What isn't text was left by a stranger, and is answered like an unreadable one:
-- who then leaves a key set there replaces it.

local left = redis.pcall('GETRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)
if type(left) ~= 'string' then
  return {'left', ''}
end
if left == '' then
  return {'empty'}
end
return {'left', left}
