-- The head of the scripts that need no memory.
--
-- ARGV  1 this server process, 2 now (µs)

local now = tonumber(ARGV[2])
