-- Asks whether a token was revoked, and spends its uses, all or none.
--
-- KEYS  1 the place's memory, 2 the revocation, 3 the call (or, without one, the
--       revocation again), 4… the counters
-- ARGV  1 this server process, 2 now (µs), 3 "spend" or "look", 4 minted at (ms) or "",
--       5 until when the call may come again (µs) or "", 6… each counter's count and end (µs)
--
-- A revocation is its end, or `-` for good; a call its end; a counter `<end> <spent>`.

local revoked = redis.call('GET', KEYS[2])
if revoked and (revoked == '-' or now < tonumber(revoked)) then
  return {'revoked'}
end
if ARGV[5] ~= '' then
  local call = redis.call('GET', KEYS[3])
  if call and now < tonumber(call) then
    return {'allowed'}
  end
end
if ARGV[4] ~= '' and tonumber(ARGV[4]) < math.floor(tonumber(memory[2]) / 1000) then
  return {'unremembered'}
end

local counters = {}
for at = 4, #KEYS do
  local caveat = at - 4
  local count, ends = tonumber(ARGV[6 + 2 * caveat]), tonumber(ARGV[7 + 2 * caveat])
  local counter = counters[KEYS[at]]
  if not counter then
    local kept = redis.call('GET', KEYS[at])
    if kept then
      local kept_ends, spent = string.match(kept, '^(%d+) (%d+)$')
      if now < tonumber(kept_ends) then
        counter = {ends = tonumber(kept_ends), spent = tonumber(spent)}
      end
    end
    if not counter then
      if not remembers(ends) then
        return {'unremembered'}
      end
      counter = {ends = ends, spent = 0}
    end
    counters[KEYS[at]] = counter
  end
  if counter.spent >= count then
    return {'spent', caveat}
  end
  counter.spent = counter.spent + 1
  counter.ends = math.max(counter.ends, ends)
end

if ARGV[3] == 'spend' then
  for key, counter in pairs(counters) do
    set(key, string.format('%.0f %.0f', counter.ends, counter.spent), counter.ends)
  end
  if ARGV[5] ~= '' then
    set(KEYS[3], ARGV[5], tonumber(ARGV[5]))
  end
end
return {'allowed'}
