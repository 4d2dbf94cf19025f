-- Sets the value of an entry that has this version; with new deadlines, those too.
-- KEYS: the entry; its owner's index, if known.
-- ARGV: owner; version seen; new version; value; with new deadlines last use, idle time, end.
local name, index = KEYS[1], KEYS[2]
local e = read(name)
if not e then return absent(name, 'absent') end
if e.bad then return refuse(name, 'damaged', e.bad) end
if e.ver ~= ARGV[2] then return refuse(name, 'conflict', redis.call('GET', name)) end
local has_deadlines = ARGV[5] ~= nil
if has_deadlines then
  -- The index must live as long as the entry.
  if is_unknown(e, index, ARGV[1]) then return refuse(name, 'owner', e.own) end
  e.used, e.idle, e.limit = moment(ARGV[5]), tonumber(ARGV[6]), moment(ARGV[7])
  -- A deadline that has already passed ends the entry.
  if set_ends(e).ends <= now then return absent(name, 'replaced') end
end
e.ver = ARGV[3]
write(name, e, ARGV[4], not has_deadlines)
if has_deadlines then keep(index, name, e.limit or e.ends) end
return { now, 'replaced' }
