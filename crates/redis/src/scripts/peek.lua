-- The live entries among some keys, for a scan. KEYS: the keys.
local answer = {}
for _, name in ipairs(KEYS) do
  sure(name)
  local e = read(name, true)
  if e and not e.to then answer[#answer + 1] = show('entry', name, e) end
end
return answer
