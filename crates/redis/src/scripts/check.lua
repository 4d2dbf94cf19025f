-- Runs every command that the scripts and the store use, and replies with the first one that the
-- user has no permission for. KEYS: a string and a sorted set, which only this script uses.
local s, z = KEYS[1], KEYS[2]
local calls = {
  { 'SET', s, 'a', 'PXAT', MAX }, { 'GET', s }, { 'GETEX', s }, { 'GETRANGE', s, 0, 0 },
  { 'SETRANGE', s, 0, 'b' }, { 'EXISTS', s }, { 'PEXPIREAT', s, MAX }, { 'PTTL', s },
  { 'ZADD', z, 1, 'a' }, { 'ZSCORE', z, 'a' }, { 'ZCARD', z }, { 'ZRANGE', z, 0, -1 },
  { 'ZRANDMEMBER', z, 1 }, { 'ZREM', z, 'a' }, { 'UNLINK', s }, { 'DEL', z },
}
local words = { 'noperm', 'permission', 'acl failure', "can't run this command", "can't access" }
for _, call in ipairs(calls) do
  local done = redis.pcall(unpack(call))
  local err = type(done) == 'table' and done.err and string.lower(done.err) or ''
  for _, word in ipairs(words) do
    if string.find(err, word, 1, true) then
      redis.pcall('DEL', s, z)
      return { now, 'denied', call[1], done.err }
    end
  end
end
redis.pcall('DEL', s, z)
return { now, 'ready' }
