-- Before the scripts that go through an owner's index: a sorted set of keys by age.

-- Takes away a former key that leads to another slot and to nothing there.
local function forget(name, id)
  if id == '' then return end
  local e = read(name)
  if e and e.to and e.id == id then redis.call('DEL', name) end
end

-- The members of an index, oldest first.
local function members(index, youngest)
  return redis.call('ZRANGEBYSCORE', index, '-inf', youngest or '+inf')
end

-- Adds to the owner's index: as the youngest, or at an age.
local function enter(index, member, moment, age)
  if not age then
    age = micros
    local top = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2]
    if top and tonumber(top) >= age then age = tonumber(top) + 1 end
  end
  redis.call('ZADD', index, text(age), member)
  cover(index, moment)
end

-- Whether what was read under a member's name is a live entry of the owner's.
local function is_owned(e, own)
  return e and not e.to and e.own == own
end

-- The owner's live entries but `skip`, oldest first; or nil and the answer that asks for the
-- members that KEYS[first..] lack. Ended ones leave the index.
local function owned(index, own, first, skip, whole)
  local declared = {}
  for i = first, #KEYS do declared[hex(KEYS[i])] = KEYS[i] end
  local all = members(index)
  for _, member in ipairs(all) do
    if member ~= skip and not declared[member] then
      table.insert(all, 1, 'members')
      return nil, all
    end
  end
  local live = {}
  for _, member in ipairs(all) do
    if member ~= skip then
      local e = read(declared[member], whole)
      if is_owned(e, own) then
        live[#live + 1] = { name = declared[member], member = member, e = e }
      else
        redis.call('ZREM', index, member)
      end
    end
  end
  return live
end

-- Which of the owner's entries have to go to make room for one more; or nil and the answer.
local function surplus(index, own, first, entries_max, at_limit, skip)
  if not entries_max then return {} end
  if entries_max == 0 then return nil, { 'limit' } end
  -- The index has all that live, and perhaps some that have ended.
  local count = redis.call('ZCARD', index)
  if skip and redis.call('ZSCORE', index, skip) then count = count - 1 end
  if count < entries_max then return {} end
  local live, answer = owned(index, own, first, skip)
  if not live then return nil, answer end
  local over = #live - entries_max + 1
  if over > 0 and at_limit == 'refuse' then return nil, { 'limit' } end
  local gone = {}
  for i = 1, over do gone[i] = live[i] end
  return gone
end

-- Removes them and adds their keys to the answer.
local function remove_all(index, gone, answer)
  for _, one in ipairs(gone) do
    redis.call('DEL', one.name)
    redis.call('ZREM', index, one.member)
    answer[#answer + 1] = one.member
  end
  return answer
end
