-- Tries every command that the scripts use, under a name of the prefix's. KEYS: a hash, a sorted
-- set, a string, all three of this check's own. Answers with the first refusal for want of a permission.
local h, z, s = KEYS[1], KEYS[2], KEYS[3]
local calls = {
  { 'TIME' }, { 'HSET', h, 'a', '1' }, { 'HMGET', h, 'a' }, { 'EXISTS', h },
  { 'PEXPIREAT', h, '4503599627370496' }, { 'PTTL', h }, { 'HDEL', h, '-' },
  { 'RENAME', h, h }, { 'ZADD', z, 1, 'a' }, { 'ZSCORE', z, 'a' }, { 'ZCARD', z },
  { 'ZREVRANGE', z, 0, 0 },
  { 'ZRANGEBYSCORE', z, '-inf', '+inf' }, { 'ZRANDMEMBER', z, 1 }, { 'ZREM', z, 'a' },
  { 'SET', s, '1', 'PX', 1000 }, { 'GET', s }, { 'UNLINK', h }, { 'DEL', h, z, s },
}
for _, call in ipairs(calls) do
  local done = redis.pcall(unpack(call))
  if type(done) == 'table' and done.err then
    local err = string.lower(done.err)
    if string.find(err, 'noperm', 1, true) or string.find(err, 'permission', 1, true)
      or string.find(err, 'acl failure', 1, true) or string.find(err, "can't run this command", 1, true)
      or string.find(err, "can't access", 1, true) then
      redis.pcall('DEL', h, z, s)
      return { 'refused', call[1], done.err }
    end
  end
end
return { 'ready' }
