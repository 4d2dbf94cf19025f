-- KEYS: the mark of a clear; the mark of a former key; the chain of the key; the chain of the new key; the index of the
--   entry's owner, where it is known; the index of the new owner, if there is one; members of it.
-- ARGV: length of the first chain and its id, length of the second and the id of what it is known to
--   lead to no more, version seen or '', value, new version, 'known' or '' and
--   the owner as he is known, 'given' or '' and the new owner, 'anew' or '', idle, lifetime,
--   grace, limit or '', what happens at it, whether the mark is wanted ('marks' or '').
local n, m, seen, val, ver = tonumber(ARGV[1]), tonumber(ARGV[3]), ARGV[5], ARGV[6], ARGV[7]
local known = ARGV[8] == 'known' and ARGV[9] or nil
local given = ARGV[10] == 'given' and ARGV[11] or nil
local anew, idle, lifetime = ARGV[12] == 'anew', tonumber(ARGV[13]), tonumber(ARGV[14])
local grace, entries_max, at_limit = tonumber(ARGV[15]), tonumber(ARGV[16]), ARGV[17]
local from, to = KEYS[3], KEYS[3 + n]

sure(from)
local e, at, answer = walk(3, n + 2, ARGV[2])
if answer then return answer end
if not e then return { 'absent' } end
if at > 3 or ARGV[2] ~= '' then return { 'superseded' } end
forget(to, ARGV[4])
local taken, _
taken, _, answer = walk(n + 3, n + m + 2, '')
if answer then
  answer[1] = 'walk to'
  return answer
end
if taken then return { 'occupied' } end
if seen ~= '' and e.ver ~= seen then return { 'conflict' } end
-- A clear goes through the keys once. It must not be that this one hides from it behind it.
local cleared = redis.call('GET', KEYS[1])
if cleared and (e.made or 0) <= tonumber(cleared) then
  redis.call('DEL', from)
  return { 'absent' }
end

local next = n + m + 3
local old, new = nil, nil
if known then
  old = KEYS[next]
  next = next + 1
end
if given then
  new = KEYS[next]
  next = next + 1
end
if e.own and e.own ~= known then return { 'owner', e.own } end
if not e.own then old = nil end
local own = given or e.own
local index = given and new or old
local stays = own == e.own
local gone = {}
if own then
  gone, answer = surplus(index, own, next, entries_max, at_limit, stays and hex(from) or nil)
  if not gone then return answer end
end

local limit, used = e.limit, e.used
if anew then
  limit = lifetime and math.min(now + lifetime, NEVER)
  used = idle and now
else
  idle = e.idle
end
local ends = math.min(limit or NEVER, idle and used + idle or NEVER)
local covered = cover_of(idle, limit)
if stays then covered = math.max(covered, e.covered or 0) end
local age = stays and old and redis.call('ZSCORE', old, hex(from))

-- The last former keys lead on. Without a grace, none does.
local was, dropped = former_of(from), ''
if grace > 0 then was = was .. bytes(hex(from)) end
local kept = grace > 0 and 32 * FORMER or 0
if #was > kept then
  dropped, was = string.sub(was, 1, #was - kept), string.sub(was, #was - kept + 1)
end

if ends <= now then
  redis.call('DEL', from)
else
  redis.call('RENAME', from, to)
  local fields = { 'ver', ver }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if seen ~= '' then field('val', val) end
  if own then
    field('own', own)
    field('idx', text(covered))
  end
  if idle then
    field('idle', text(idle))
    field('used', text(used))
  end
  if limit then field('end', text(limit)) end
  if was ~= '' then field('was', was) end
  redis.call('HSET', to, unpack(fields))
  if not idle then redis.call('HDEL', to, 'idle', 'used') end
  if not limit then redis.call('HDEL', to, 'end') end
  expire(to, ends)
  if was == '' then redis.call('HDEL', to, 'was') end
  if grace > 0 then lead(from, hex(to), e.id, grace, ARGV[18] == 'marks' and KEYS[2]) end
end
if old then redis.call('ZREM', old, hex(from)) end
if index and ends > now then enter(index, hex(to), covered, age and tonumber(age) or nil) end
answer = { 'moved', e.id, dropped }
if index then remove_all(index, gone, answer) end
return answer
