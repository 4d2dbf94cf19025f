-- Inserts an entry, within its owner's limit and in the place of a predecessor.
-- KEYS: the entry; its owner's index; the predecessor; the index of the predecessor's owner, if
--   known; members of the owner's index. The entry's own name stands for an absent one.
-- ARGV: version; the header from the number of names on; value; last use, idle time, absolute end,
--   creation; owner; limit or ''; 'refuse' or 'oldest'; the predecessor's version or ''; the
--   predecessor's owner; 'copied' for an entry with times of its own.
local name, index, old, old_index = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if index == name then index = nil end
if old == name then old = nil end
if old_index == name then old_index = nil end
local max, refuses = tonumber(ARGV[9]), ARGV[10] == 'refuse'
local new = set_ends({ ver = ARGV[1], names = ARGV[2], used = moment(ARGV[4]),
  idle = tonumber(ARGV[5]), limit = moment(ARGV[6]) })

if read(name) then return refuse(name, 'occupied') end
if ARGV[13] == 'copied' and new.ends <= now then return absent(name, 'expired') end
if old then
  local e = read(old)
  if ARGV[11] ~= '' and not (e and e.ver == ARGV[11]) then return absent(name, 'conflict') end
  if e and is_unknown(e, old_index, ARGV[12]) then return absent(name, 'owner', e.own) end
elseif ARGV[11] ~= '' then
  -- The predecessor is the absent entry itself.
  return absent(name, 'conflict')
end

-- The owner's limit. The first call declares no members. If the index has as many as the limit, the
-- script replies with the ones to declare, and reads only their headers.
local gone, ended = {}, {}
local replaced = old and old_index == index and member_of(old)
if index and max then
  local card = redis.call('ZCARD', index)
  local count = card
  if replaced and redis.call('ZSCORE', index, replaced) then count = card - 1 end
  if count >= max then
    -- To refuse, it suffices that `max` of the youngest are live. Of 17 more, some may have ended.
    local first = refuses and -max - 17 or 0
    local all, names = members(index, first), declared(5)
    -- Youngest first. `false` stands for a member that was inserted after the others were asked
    -- for: it is younger than all of them, and counts as live.
    local live, is_asked = {}, #KEYS == 4
    for i = #all, 1, -1 do
      local member = all[i].member
      local one = names[member]
      local e = one and read(one)
      if member == replaced then
        -- The predecessor does not count.
      elseif e and (e.bad or e.own == ARGV[8]) then
        live[#live + 1] = one
      elseif one then
        ended[#ended + 1] = member
      elseif is_asked then
        absent(name)
        return ask(all)
      else
        live[#live + 1] = false
      end
      is_asked = is_asked or one
    end
    if refuses and #live >= max then return absent(name, 'limit') end
    if refuses and card > max + 17 then
      -- Older ones may be live. Ended ones are removed, so that the next try reads further.
      for _, member in ipairs(ended) do redis.call('ZREM', index, member) end
      return ask(members(index, first))
    end
    -- The oldest make room for the new entry.
    for i = max, #live do
      if not live[i] then
        absent(name)
        return ask(all)
      end
      gone[#gone + 1] = live[i]
    end
  end
end

-- First the writes that a full server rejects.
if new.ends > now then
  write(name, new, ARGV[3])
  if index then
    -- The score is in microseconds. Two of the same millisecond would be ordered by their names.
    local made = string.sub(ARGV[7], 1, 1) == '+' and time[1] * 1000000 + time[2]
    redis.call('ZADD', index, made or moment(ARGV[7]) * 1000, member_of(name))
    keep(index, name, new.limit or new.ends)
  end
else
  absent(name)
end
if old then
  redis.call('DEL', old)
  if old_index then redis.call('ZREM', old_index, member_of(old)) end
end
for _, member in ipairs(ended) do redis.call('ZREM', index, member) end
for i, one in ipairs(gone) do
  redis.call('DEL', one)
  gone[i] = member_of(one)
  redis.call('ZREM', index, gone[i])
end
-- Without a limit, ended members stay in the index. One insertion in 32 replies with a sample, from
-- which the caller removes them.
local some = {}
if index and not max and redis.call('ZCARD', index) % 32 == 0 then
  some = redis.call('ZRANDMEMBER', index, 64)
end
return { now, 'inserted', gone, some }
