-- KEYS: the owner's index, members of it. ARGV: owner.
redis.call('ZREM', KEYS[1], '') -- As `sure`, for a sorted set.
local live, answer = owned(KEYS[1], ARGV[1], 2, nil, true)
if not live then return answer end
answer = { 'listed' }
for _, one in ipairs(live) do answer[#answer + 1] = show('entry', one.name, one.e) end
return answer
