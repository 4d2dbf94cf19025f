-- Lists an owner's entries, oldest first. Removes ended members from the index.
-- KEYS: the owner's index; members of it. ARGV: owner; 'partial' to list only declared members.
local index = KEYS[1]
redis.call('ZREM', index, '') -- A write that changes nothing: see `refuse`.
local all, names = members(index, 0), declared(2)
local answer = { now, 'listed' }
for _, one in ipairs(all) do
  local name = names[one.member]
  if not name and ARGV[2] ~= 'partial' then return ask(all) end
  local e = name and read(name)
  if e and (e.bad or e.own == ARGV[1]) then
    -- The value of a key that is not a string is an error, and is sent as ''.
    local value = redis.pcall('GET', name)
    answer[#answer + 1] = { one.member, one.score, type(value) == 'string' and value or '' }
  elseif name then
    redis.call('ZREM', index, one.member)
  end
end
return answer
