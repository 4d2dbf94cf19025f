-- Before every script. The server's clock decides: it is read once, before anything else, and
-- every answer begins with it. Every key is declared, so that a cluster that is moving a slot
-- redirects the script or asks to try again; every refusal comes before the first write.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The latest moment that a header has room for, and what a header has in the place of none.
local MAX = 9999999999999
local NONE = '-------------'

local function digits(n)
  return n and string.format('%013.0f', n) or NONE
end

-- A moment as it is given: `+` and milliseconds from now, a timestamp, or nothing.
local function moment(text)
  local n = tonumber(text)
  if n and string.sub(text, 1, 1) == '+' then n = now + n end
  return n and math.min(n, MAX)
end

-- Sets the first moment at which an entry is absent.
local function set_ends(e)
  e.ends = math.min(e.limit or MAX, e.idle and e.used + e.idle or MAX)
  return e
end

-- What an index has of an entry: the last part of its name.
local function member_of(name)
  return string.match(name, '[^:]*$')
end

-- The entry under a name, or nil if none is live. One that can't be read has `bad`: how it begins.
local function read(name)
  local head = redis.pcall('GETRANGE', name, 0, 1023)
  if type(head) == 'table' then return { bad = '' } end
  if head == '' and redis.call('EXISTS', name) == 0 then return nil end
  local bad = { bad = string.sub(head, 1, 8) }
  -- Format, version, last use, idle time, absolute end, how many names of indexes follow.
  local ver, used, idle, limit, names, after =
    string.match(head, '^kv1 (%x+) ([%d-]+) ([%d-]+) ([%d-]+) (%d)()')
  if after ~= 65 or #ver ~= 16 or #used ~= 13 or #idle ~= 13 then return bad end
  local e = { ver = ver, used = tonumber(used), idle = tonumber(idle), limit = tonumber(limit) }
  local times = string.sub(head, 21, 63)
  if string.find(times, '%d%-') or string.find(times, '%-%d') or not e.used ~= not e.idle then
    return bad
  end
  -- After the lengths of the names come the names: the first is the owner's.
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
  if set_ends(e).ends > now then return e end
end

-- Writes that change nothing, before an answer that changes nothing. A replica refuses them, and
-- so does a master that lacks the replicas it was told to have: their answers may be outdated.
-- `absent` also takes away what has ended and was kept from expiring.
local function refuse(name, ...)
  local done = redis.pcall('GETEX', name)
  if type(done) == 'table' and not string.find(done.err, 'WRONGTYPE', 1, true) then return done end
  return { now, ... }
end
local function absent(name, ...)
  redis.call('DEL', name)
  return { now, ... }
end

local function times_of(e)
  return digits(e.used) .. ' ' .. digits(e.idle) .. ' ' .. digits(e.limit)
end

-- Redis removes a key after the moment that it is given, and an entry is absent from `ends` on.
local function write(name, e, value, keeps_ttl)
  local text = 'kv1 ' .. e.ver .. ' ' .. times_of(e) .. ' ' .. e.names .. value
  if keeps_ttl then
    redis.call('SET', name, text, 'KEEPTTL')
  else
    redis.call('SET', name, text, 'PXAT', e.ends - 1)
  end
end

-- Whether the entry's owner is another than the caller knows of, whose index is `index`.
local function is_unknown(e, index, own)
  return e.own and not (index and own == e.own)
end

-- Keeps an index until `ends`, and a second more as the time left is not exact. An entry that
-- lies apart from its index, as in a cluster that was filled by hand, is given in its place.
local function keep(index, entry, ends)
  if index and index ~= entry and now + redis.call('PTTL', index) < ends then
    redis.call('PEXPIREAT', index, ends + 1000)
  end
end

-- The members of an index with their scores, oldest first, from a place on. What was put there by
-- others goes.
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

-- The answer that asks for the names of members.
local function ask(all)
  local answer = { now, 'members' }
  for i, one in ipairs(all) do answer[i + 2] = one.member end
  return answer
end

-- The names in KEYS[first..] by member.
local function declared(first)
  local names = {}
  for i = first, #KEYS do names[member_of(KEYS[i])] = KEYS[i] end
  return names
end
