-- Starts the idle time again, if a slide is due. Replies with the deadlines.
-- KEYS: the entry; its owner's index, if known.
-- ARGV: owner; the fraction of the idle time after which a slide is due.
local name, index = KEYS[1], KEYS[2]
local e = read(name)
if not e then return absent(name, 'absent') end
if e.bad then return refuse(name, 'damaged', e.bad) end
if e.idle and now - e.used > e.idle * ARGV[2] then
  -- A use of an entry without an absolute end makes its owner's index live longer.
  if not e.limit and is_unknown(e, index, ARGV[1]) then return refuse(name, 'owner', e.own) end
  e.used = now
  if not e.limit then keep(index, name, set_ends(e).ends) end
  -- In this order: a full server rejects `SETRANGE` as the first write, but not as a later one.
  redis.call('PEXPIREAT', name, set_ends(e).ends - 1)
  -- In the entry's last millisecond, `PEXPIREAT` has removed it.
  if redis.call('EXISTS', name) == 1 then redis.call('SETRANGE', name, 21, digits(now)) end
end
return refuse(name, 'live', times_of(e))
