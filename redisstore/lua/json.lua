-- json encodes an object of names and values; empty strings are left out. The values of
-- attributes and grant are JSON already. Put between change and each script that publishes
-- what happens seldom: begin and commit put their messages together, because that takes a
-- fifth of the time.
local encoded = { attributes = true, grant = true }
local function json(...)
  local given, out = { ... }, {}
  for i = 1, #given, 2 do
    local value = given[i + 1]
    if type(value) == 'number' then
      out[#out + 1] = '"' .. given[i] .. '":' .. digits(value)
    elseif value ~= '' then
      out[#out + 1] = '"' .. given[i] .. '":' .. (encoded[given[i]] and value or cjson.encode(value))
    end
  end
  return '{' .. table.concat(out, ',') .. '}'
end
