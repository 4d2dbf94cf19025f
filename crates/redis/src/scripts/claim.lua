-- Which of some keys that have expired nobody has told of, and are told of by who asks.
-- KEYS: for each, a name to claim it by, and the mark of a former key. ARGV: the keys, as digits.
local answer = { 'claimed' }
for i, key in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[2 * i]) == 0
    and redis.call('SET', KEYS[2 * i - 1], '', 'NX', 'PX', 600000) then
    answer[#answer + 1] = key
  end
end
return answer
