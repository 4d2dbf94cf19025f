-- Removes an entry, whether or not it can be read; with a version, only if it has that version.
-- KEYS: the entry; its owner's index, if known. ARGV: owner; version seen or ''.
local name, index = KEYS[1], KEYS[2]
local e = read(name)
if e and ARGV[2] ~= '' and e.ver ~= ARGV[2] then return refuse(name, 'conflict') end
if e and is_unknown(e, index, ARGV[1]) then return refuse(name, 'owner', e.own) end
redis.call('DEL', name)
if index then redis.call('ZREM', index, member_of(name)) end
return { now, e and 'removed' or 'absent' }
