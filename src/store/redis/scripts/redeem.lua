-- Redeems an ID token: spends the limits and sets the mark, both or neither.
--
-- KEYS  1 the place's memory, 2 the mark, 3… the limits
-- ARGV  1 this server process, 2 now (µs), 3 the mark's end (µs), 4 issued at (s) or "",
--       5 the call or "", 6 until when it may come again (µs), 7 seed, 8 "look" or "set",
--       9… each limit's interval and refill (µs)
--
-- A mark is `<end> <again until> <call> <seed>`.

local ends = tonumber(ARGV[3])
local kept = redis.call('GET', KEYS[2])
if kept then
  local kept_ends, again, call, seed = string.match(kept, '^(%d+) (%d+) (%S+) (%S+)$')
  if now < tonumber(kept_ends) then
    if call ~= '-' and call == ARGV[5] and now < tonumber(again) then
      -- Written again, so that a caller who waits for replicas waits for this too.
      redis.call('SET', KEYS[2], kept, 'KEEPTTL')
      return {'again', seed}
    end
    return {'before'}
  end
end
if ARGV[4] ~= '' and (tonumber(ARGV[4]) < tonumber(memory[3]) or not remembers(ends)) then
  return {'unremembered'}
end
if ARGV[8] == 'look' then
  return {'free'}
end
local arrivals, wait, last = spend_all(3, 9)
if not arrivals then
  return {'limited', wait, last}
end
local call = ARGV[5]
if call == '' then
  call = '-'
end
set(KEYS[2], ARGV[3] .. ' ' .. ARGV[6] .. ' ' .. call .. ' ' .. ARGV[7], ends)
keep_all(arrivals)
return {'now'}
