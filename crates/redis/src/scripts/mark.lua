-- Before a clear: from now on nothing that was made before can be renamed.
-- KEYS: the marks. ARGV: for how long, in milliseconds; 'again' while the clear goes on, or ''.
for _, name in ipairs(KEYS) do
  if ARGV[2] == 'again' then
    redis.call('PEXPIREAT', name, text(now + ARGV[1]))
  else
    redis.call('SET', name, text(micros), 'PX', ARGV[1])
  end
end
return { 'marked' }
