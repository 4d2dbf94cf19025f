-- Removes the declared members of an owner's index and their entries, whether or not those can be
-- read ('remove'), or removes only ended members from the index ('prune').
-- KEYS: the index; members of it. ARGV: owner; 'remove' or 'prune'.
local answer = { now, 'removed' }
for i = 2, #KEYS do
  local name, member = KEYS[i], member_of(KEYS[i])
  local e = read(name)
  -- Another owner may have an entry under the name of an ended member.
  local is_owned = e and (e.bad or e.own == ARGV[1])
  if ARGV[2] == 'remove' and (is_owned or not e) then
    redis.call('DEL', name)
    if e then answer[#answer + 1] = member end
  end
  if ARGV[2] == 'remove' or not is_owned then redis.call('ZREM', KEYS[1], member) end
end
return answer
