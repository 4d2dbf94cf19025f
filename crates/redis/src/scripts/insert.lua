-- KEYS: the chain of keys; the owner's index, if there is an owner; members of it.
-- ARGV: length of the chain, the id of what it is known to lead to no more, value, version, id, 'owned' or '', owner, idle, lifetime,
--   limit or '', what happens at it; for an entry that comes from another slot: its absolute end,
--   last use and making.
local n, owned_by = tonumber(ARGV[1]), ARGV[6] == 'owned' and ARGV[7] or nil
local val, ver, id = ARGV[3], ARGV[4], ARGV[5]
local idle, lifetime = tonumber(ARGV[8]), tonumber(ARGV[9])
local entries_max, at_limit = tonumber(ARGV[10]), ARGV[11]

forget(KEYS[1], ARGV[2])
local e, _, answer = walk(1, n, '')
if answer then return answer end
if e then
  sure(KEYS[1])
  return { 'occupied' }
end

local index, gone = nil, {}
if owned_by then
  index = KEYS[n + 1]
  gone, answer = surplus(index, owned_by, n + 2, entries_max, at_limit)
  if not gone then
    sure(KEYS[1])
    return answer
  end
end

local limit = tonumber(ARGV[12]) or (lifetime and math.min(now + lifetime, NEVER))
local used = idle and (tonumber(ARGV[13]) or now)
local made = tonumber(ARGV[14]) or micros
local ends = math.min(limit or NEVER, idle and used + idle or NEVER)
local covered = cover_of(idle, limit)
if ends > now then
  -- What a former key that leads nowhere any more has left.
  if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
  -- First what a full server refuses.
  local fields = { 'val', val, 'ver', ver, 'id', id, 'made', text(made) }
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if idle then
    field('idle', text(idle))
    field('used', text(used))
  end
  if limit then field('end', text(limit)) end
  if owned_by then
    field('own', owned_by)
    field('idx', text(covered))
  end
  redis.call('HSET', KEYS[1], unpack(fields))
  expire(KEYS[1], ends)
  if owned_by then enter(index, hex(KEYS[1]), covered) end
end
answer = { 'inserted' }
if index then
  remove_all(index, gone, answer)
  -- Some members to look at, so that those that have ended don't stay.
  table.insert(answer, 2, redis.call('ZCARD', index) > 8 and redis.call('ZRANDMEMBER', index, 4) or {})
else
  table.insert(answer, 2, {})
end
return answer
