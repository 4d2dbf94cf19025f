-- Takes what has ended out of an index. KEYS: the index, members of it. ARGV: owner, and 'all' to be
-- told the members.
if ARGV[2] == 'all' then
  local all = members(KEYS[1])
  table.insert(all, 1, 'members')
  return all
end
for i = 2, #KEYS do
  if not is_owned(read(KEYS[i]), ARGV[1]) then redis.call('ZREM', KEYS[1], hex(KEYS[i])) end
end
return { 'pruned' }
