-- KEYS: the chain of keys; the owner's index, where it is known.
-- ARGV: length of the chain, its id, version seen, value, new version, 'anew' or '', idle,
--   lifetime, owner or ''.
local n, seen, val, ver, anew = tonumber(ARGV[1]), ARGV[3], ARGV[4], ARGV[5], ARGV[6] == 'anew'
local idle, lifetime = tonumber(ARGV[7]), tonumber(ARGV[8])

local e, at, answer = walk(1, n, ARGV[2], true)
if answer then return answer end
-- Not sooner: after one write, a full server refuses none.
if not e then
  sure(KEYS[1])
  return { 'absent' }
end
if e.ver ~= seen then
  sure(KEYS[1])
  return show('conflict', KEYS[at], e)
end
local name = KEYS[at]
if not anew then
  redis.call('HSET', name, 'val', val, 'ver', ver)
  return { 'replaced' }
end

local limit = lifetime and math.min(now + lifetime, NEVER)
local ends = math.min(limit or NEVER, idle and now + idle or NEVER)
local covered = e.own and cover_of(idle, limit)
if ends <= now then
  redis.call('DEL', name)
  return { 'replaced' }
end
if e.own and covered > e.covered and (not KEYS[n + 1] or e.own ~= ARGV[9]) then
  return { 'owner', e.own }
end
redis.call('HSET', name, 'val', val, 'ver', ver)
if idle then
  redis.call('HSET', name, 'idle', text(idle), 'used', text(now))
else
  redis.call('HDEL', name, 'idle', 'used')
end
if limit then redis.call('HSET', name, 'end', text(limit)) else redis.call('HDEL', name, 'end') end
if e.own and covered > e.covered then
  redis.call('HSET', name, 'idx', text(covered))
  cover(KEYS[n + 1], covered)
end
expire(name, ends)
return { 'replaced' }
