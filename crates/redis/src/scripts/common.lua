-- This part comes before every script. The server's clock decides: it is read once, and every reply
-- begins with it. Every key is declared, so a cluster that is moving a slot redirects the script, or
-- asks the client to retry, before anything is executed. Every refusal comes before the first write.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The latest time that a header has room for, and what a header has instead of an absent field.
local MAX = 9999999999999
local NONE = '-------------'
local function digits(n) return n and string.format('%013.0f', n) or NONE end
-- A time from an argument: `+` and milliseconds from now, a timestamp, or '' for none.
local function moment(text)
  local n = tonumber(text)
  if n and string.sub(text, 1, 1) == '+' then n = now + n end
  return n and math.min(n, MAX)
end
-- Sets `ends`, the first moment at which the entry is absent.
local function set_ends(e)
  e.ends = math.min(e.limit or MAX, e.idle and e.used + e.idle or MAX)
  return e
end
-- The member of an index that stands for an entry: the last component of the entry's name.
local function member_of(name)
  return string.match(name, '[^:]*$')
end
-- Reads the header of the live entry under a name; nil if there is none.
--   ver, used, idle, limit, and `ends`, which follows from them; own: the owner;
--   names: the rest of the header; bad: the first bytes of an entry that can't be read, alone.
local function read(name)
  local head = redis.pcall('GETRANGE', name, 0, 1023)
  -- An error: the key is not a string.
  if type(head) == 'table' then return { bad = '' } end
  if head == '' and redis.call('EXISTS', name) == 0 then return nil end
  local bad = { bad = string.sub(head, 1, 8) }
  -- Format, version, last use, idle time, absolute end, number of names: all of fixed width.
  local ver, used, idle, limit, names, after =
    string.match(head, '^kv1 (%x+) ([%d-]+) ([%d-]+) ([%d-]+) (%d)()')
  if after ~= 65 or #ver ~= 16 or #used ~= 13 or #idle ~= 13 then return bad end
  local e = { ver = ver, used = tonumber(used), idle = tonumber(idle), limit = tonumber(limit) }
  local times = string.sub(head, 21, 63)
  -- A field is all digits or all `-`; last use and idle time are both present or both absent.
  if string.find(times, '%d%-') or string.find(times, '%-%d') or not e.used ~= not e.idle then
    return bad
  end
  -- The lengths of the names (4 bytes each, with a space), then the names. The first is the owner.
  local at = 64 + 4 * names
  for i = 1, tonumber(names) do
    local length = tonumber(string.sub(head, 62 + 4 * i, 64 + 4 * i))
    if length then
      if i == 1 then e.own = string.sub(head, at + 2, at + 1 + length) end
      at = at + 1 + length
    end
  end
  e.names = string.sub(head, 64, at + 1)
  if string.sub(e.names, -1) ~= '\n' then return bad end
  -- A key that lost its expiry (`PERSIST`, `RESTORE`) ends by its header.
  if set_ends(e).ends > now then return e end
end
-- Replies after a write that changes nothing (`GETEX`). A replica rejects it, and so does a master
-- that lacks the replicas that it must have: their data may be outdated, so they must not reply.
local function refuse(name, ...)
  local done = redis.pcall('GETEX', name)
  if type(done) == 'table' and not string.find(done.err, 'WRONGTYPE', 1, true) then return done end
  return { now, ... }
end
-- Replies that no entry is live. Deletes one that has ended and lost its expiry.
local function absent(name, ...)
  redis.call('DEL', name)
  return { now, ... }
end

local function times_of(e)
  return digits(e.used) .. ' ' .. digits(e.idle) .. ' ' .. digits(e.limit)
end
-- Redis removes a key after the moment of its expiry, and an entry is absent from `ends` on.
local function write(name, e, value, keeps_ttl)
  local text = 'kv1 ' .. e.ver .. ' ' .. times_of(e) .. ' ' .. e.names .. value
  if keeps_ttl then
    redis.call('SET', name, text, 'KEEPTTL')
  else
    redis.call('SET', name, text, 'PXAT', e.ends - 1)
  end
end
-- Whether the entry's owner is not `own`, whose index is declared. Then the script replies with the
-- owner, and the caller sends it again with the right index.
local function is_unknown(e, index, own)
  return e.own and not (index and own == e.own)
end
-- Makes an index live until `ends` and a second more, as `PTTL` is not exact. The index is the
-- entry itself if that is in another slot, as in a cluster that was filled by hand.
local function keep(index, entry, ends)
  if index and index ~= entry and now + redis.call('PTTL', index) < ends then
    redis.call('PEXPIREAT', index, ends + 1000)
  end
end
-- The members of an index from a position on, oldest first. Removes those of other programs.
local function members(index, first)
  local all = {}
  local found = redis.call('ZRANGE', index, first, -1, 'WITHSCORES')
  for i = 1, #found, 2 do
    local member = found[i]
    if string.find(member, '^[0-9a-f]+$') and (#member == 24 or #member == 64) then
      all[#all + 1] = { member = member, score = found[i + 1] }
    else
      redis.call('ZREM', index, member)
    end
  end
  return all
end
-- The reply that asks the caller to declare the names of these members.
local function ask(all)
  local answer = { now, 'members' }
  for i, one in ipairs(all) do answer[i + 2] = one.member end
  return answer
end
-- The names in KEYS[first..], by member.
local function declared(first)
  local names = {}
  for i = first, #KEYS do names[member_of(KEYS[i])] = KEYS[i] end
  return names
end
