-- Removes entries and former keys, for a clear. KEYS: them.
for _, name in ipairs(KEYS) do redis.call('UNLINK', name) end
return { 'removed' }
