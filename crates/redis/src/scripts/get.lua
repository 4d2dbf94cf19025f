-- KEYS: the chain of keys; the owner's index, where it is known.
-- ARGV: length of the chain, its id, 'slide' or '', the fraction that may be lost, owner or ''.
-- A read by a former key moves no deadline: whoever has no more than that keeps nothing alive.
local n, slide, lost, own = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[4]), ARGV[5]

sure(KEYS[1])

local e, at, answer = walk(1, n, ARGV[2], true)
if answer then return answer end
if not e then return { 'absent' } end

if slide == 'slide' and at == 1 and ARGV[2] == '' and e.idle and now - e.used > e.idle * lost then
  local ends = math.min(e.limit or NEVER, now + e.idle)
  -- The index has to be there for as long as the entry.
  if e.own and e.covered < ends then
    local index = KEYS[2]
    if not index or own ~= e.own then return { 'owner', e.own } end
    e.covered = cover_of(e.idle, e.limit)
    cover(index, e.covered)
    redis.call('HSET', KEYS[1], 'idx', text(e.covered))
  end
  e.used = now
  redis.call('HSET', KEYS[1], 'used', text(now))
  expire(KEYS[1], ends)
end
return show('entry', KEYS[at], e)
