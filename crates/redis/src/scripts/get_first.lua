-- The usual read, before all that the others need is set up: of an entry, by its own key, with no
-- deadline to move; or of nothing. Otherwise nothing is done here. What it answers is as `show` answers it.
if #KEYS == 1 and ARGV[2] == '' then
  local name = KEYS[1]
  redis.call('HDEL', name, '-') -- See `sure`.
  local f = redis.call('HMGET', name, 'val', 'ver', 'own', 'idle', 'end', 'used', 'id', 'made', 'to', 'idx')
  if not f[2] and not f[9] and redis.call('EXISTS', name) == 0 then
    return { 'absent' }
  elseif f[2] and not f[9] then
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    local idle, limit, used = tonumber(f[4]), tonumber(f[5]), tonumber(f[6])
    if (idle ~= nil) == (f[4] ~= false) and (limit ~= nil) == (f[5] ~= false)
      and (not idle or used and used + idle > now) and (not limit or limit > now)
      and (ARGV[3] == '' or not idle or now - used <= idle * ARGV[4])
      and f[7] and (f[10] or not f[3]) then
      return { 'entry', string.sub(name, -64), f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8] }
    end
  end
end

