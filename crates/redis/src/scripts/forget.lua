-- Takes away former keys. KEYS: each, and its mark. ARGV: the id of the entry that they led to.
for i = 1, #KEYS, 2 do
  local f = redis.call('HMGET', KEYS[i], 'to', 'id')
  if f[1] and f[2] == ARGV[1] then redis.call('DEL', KEYS[i], KEYS[i + 1]) end
end
return { 'forgotten' }
