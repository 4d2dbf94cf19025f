-- KEYS: an owner's index, members of it. ARGV: owner, 'partial' to list only what is declared.
local index = KEYS[1]
redis.call('ZREM', index, '') -- See `refuse`.
local all, names = members(index, 0), declared(2)
local answer = { now, 'listed' }
for _, one in ipairs(all) do
  local name = names[one.member]
  if not name and ARGV[2] ~= 'partial' then return ask(all) end
  local e = name and read(name)
  if e and (e.bad or e.own == ARGV[1]) then
    local value = redis.pcall('GET', name)
    answer[#answer + 1] = { one.member, one.score, type(value) == 'string' and value or '' }
  elseif name then
    redis.call('ZREM', index, one.member)
  end
end
return answer
