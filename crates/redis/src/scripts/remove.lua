-- KEYS: the chain of keys. ARGV: length of the chain, its id.
sure(KEYS[1])
local e, at, answer = walk(1, tonumber(ARGV[1]), ARGV[2])
if answer then return answer end
if not e then return { 'absent' } end
local was = former_of(KEYS[at])
redis.call('DEL', KEYS[at])
return { 'removed', hex(KEYS[at]), e.own, e.id, was }
