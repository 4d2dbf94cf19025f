-- The end of a key whose entry has been made anew in another slot.
-- KEYS: the mark of a clear, the key, the mark of a former key. ARGV: id, version, the new key,
--   grace, whether the mark is wanted ('marks' or '').
local id, ver, to, grace = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local name = KEYS[2]
sure(name)
local e = read(name)
if not e or e.id ~= id then return { 'absent' } end
if e.to then return { 'superseded' } end
if e.ver ~= ver then return { 'conflict' } end
redis.call('DEL', name)
local cleared = redis.call('GET', KEYS[1])
if cleared and (e.made or 0) <= tonumber(cleared) then return { 'absent' } end
if grace > 0 then
  lead(name, to, id, grace, ARGV[5] == 'marks' and KEYS[3])
end
return { 'retired' }
