-- Before every script. All keys are declared, so that a cluster that is moving
-- a slot sends the script where its keys are, or asks to try again: where the
-- next key is known only from what is stored, the script changes nothing,
-- answers with that key, and is called again with it.

-- The server's clock decides. Milliseconds for deadlines; microseconds for ages.
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)

-- As a deadline: none. Lua's numbers are exact up to twice this.
local NEVER = 4503599627370496
-- An index is kept for so many idle times, so that a slide need not touch it.
local COVERED = 32

local function text(number)
  return string.format('%.0f', number)
end

local function hex(name)
  return string.sub(name, -64)
end

local function number(name, field)
  if not field then return nil end
  return tonumber(field) or error('CORRUPT:' .. name)
end

local FIELDS = { 'id', 'to', 'ver', 'own', 'idle', 'end', 'used', 'idx', 'made' }
local WHOLE = { 'id', 'to', 'ver', 'own', 'idle', 'end', 'used', 'idx', 'made', 'val' }

-- What is under a name: nil, an entry, or a former key (which has `to`).
-- `ends` is the first moment at which it is absent.
local function read(name, whole)
  local f = redis.call('HMGET', name, unpack(whole and WHOLE or FIELDS))
  if not f[1] then
    if redis.call('EXISTS', name) == 1 then error('CORRUPT:' .. name) end
    return nil
  end
  local e = { id = f[1], to = f[2], ver = f[3], own = f[4], val = f[10],
    idle = number(name, f[5]), limit = number(name, f[6]), used = number(name, f[7]),
    covered = number(name, f[8]), made = number(name, f[9]) }
  if e.idle and not e.used or e.own and not e.to and not e.covered then error('CORRUPT:' .. name) end
  e.ends = math.min(e.limit or NEVER, e.idle and e.used + e.idle or NEVER)
  if e.ends <= now then return nil end
  return e
end

-- A write that changes nothing. A replica refuses it, and so does a master that lacks the replicas
-- it was told to have: what they say may be outdated, so nothing is answered without a write.
local function sure(name)
  redis.call('HDEL', name, '-')
end

-- Follows KEYS[first] to KEYS[last], each a former key that leads to the next.
-- Returns the live entry and where it is in KEYS; or nil, if there is none; or
-- nil, nil and the answer that asks for the next key.
-- With an id, only the entry of that id is meant.
local function walk(first, last, id, whole)
  local i = first
  while true do
    local e = read(KEYS[i], whole)
    if not e or (id ~= '' and e.id ~= id) then return nil end
    if not e.to then return e, i end
    id = e.id
    if i == last or hex(KEYS[i + 1]) ~= e.to then
      return nil, nil, { 'walk', i - first, e.to, e.id }
    end
    i = i + 1
  end
end

-- An entry as an answer.
local function show(status, name, e)
  local function field(n) return n and text(n) or false end
  return { status, hex(name), e.val, e.ver, e.own, field(e.idle), field(e.limit), field(e.used),
    e.id, field(e.made) }
end

-- Redis removes a key once the moment has passed, an entry has to be absent at it.
local function expire(name, moment)
  redis.call('PEXPIREAT', name, text(moment - 1))
end

-- The former keys that lead to an entry, oldest first: their bytes one after the other.
local function former_of(name)
  return redis.call('HMGET', name, 'was')[1] or ''
end

-- So many of them.
local FORMER = 16

-- A key as bytes.
local function bytes(digits)
  return (string.gsub(digits, '..', function(pair) return string.char(tonumber(pair, 16)) end))
end

-- Lets a name lead to the key `to` for as long as the grace lasts. With the name of a mark,
-- that says that it was no entry, for whoever is told that the name has expired.
local function lead(name, to, id, grace, mark)
  local ends = math.min(now + grace, NEVER)
  redis.call('HSET', name, 'to', to, 'id', id, 'end', text(ends))
  expire(name, ends)
  if mark then
    redis.call('SET', mark, '', 'PX', text(math.min(grace, NEVER - now) + 600000))
  end
end

-- Until when an index has to live for the sake of an entry.
local function cover_of(idle, limit)
  return math.min(limit or NEVER, idle and now + COVERED * idle or NEVER)
end

-- Makes the index live until `moment` at least. It never comes to end earlier than it was to.
local function cover(index, moment)
  local left = redis.call('PTTL', index)
  -- A second more, as the time left is not exact.
  if left < 0 or now + left < moment + 1000 then
    redis.call('PEXPIREAT', index, text(moment + 1000))
  end
end
