-- KEYS: the owner's index; the chain of the key to keep; members of the index.
-- ARGV: owner, length of the chain, its id, the age of the youngest that was there when the call
--   began, or ''. What is inserted later is younger, and an entry that is renamed keeps its age: so
--   all that has to go is among those up to this age.
local index, own, n, youngest = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[4]
redis.call('ZREM', index, '')
local kept, at, answer = nil, nil, nil
if n > 0 then
  kept, at, answer = walk(2, n + 1, ARGV[3])
  if answer then return answer end
end
local keep = is_owned(kept, own) and hex(KEYS[at])
if youngest == '' then youngest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2] end
if not youngest then return { 'removed', {} } end

local declared = {}
for i = n + 2, #KEYS do declared[hex(KEYS[i])] = KEYS[i] end
local all = members(index, youngest)
for _, member in ipairs(all) do
  if member ~= keep and not declared[member] then
    table.insert(all, 1, youngest)
    table.insert(all, 1, 'members')
    return all
  end
end
-- With what leads to them: ids, and after each the former keys.
local former = {}
answer = { 'removed', former }
for _, member in ipairs(all) do
  if member ~= keep then
    local e = read(declared[member])
    if is_owned(e, own) then
      local was = former_of(declared[member])
      if was ~= '' then
        former[#former + 1] = e.id
        former[#former + 1] = was
      end
      redis.call('DEL', declared[member])
      answer[#answer + 1] = member
    end
    redis.call('ZREM', index, member)
  end
end
return answer
