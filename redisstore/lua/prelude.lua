-- Put in front of every script by scripts.go. Reads the clock once, and looks at
-- what was read so that contents that nobody should have put there are found
-- before anything is written: a script that fails halfway is not rolled back.
--
-- Proxies and cluster editions look through scripts, and refuse one in which the
-- key of a redis.call is not written as KEYS[n], or that uses unpack. So no
-- function here takes the key that it is to read; it takes the answer.

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)

-- How far ahead a deadline may lie: coordinator.MaxAhead.
local most_ahead = 65000

-- How far ahead of the clock a fence may lie, in us (coordinator.MaxFenceAhead),
-- and the end of a back-off (coordinator.MaxRetry).
local fence_ahead, retry_ahead = 86400000000, 86400000

-- The longest life of a token that is believed (coordinator.MaxLifetime).
local life_most = 366 * 86400000

-- The greatest number of failures in a row that is written. One above it was not
-- counted by a process of ours, and is none.
local failures_most = 1000000

-- How many open attempts there may be. No more than a hundred are ever left
-- open, so nothing of ours has written a set that is larger.
local attempts_most = 1000

-- overdue tells whether an attempt with this deadline is. One that lies further
-- ahead was written before the clock went back.
local function overdue(deadline) return deadline <= now or deadline > now + most_ahead end

-- credible returns a fence, or 0 for one that lies further ahead of the clock
-- than any that was handed out: it orders nothing.
local function credible(fence) return fence <= now_us + fence_ahead and fence or 0 end

-- What is wrong with the contents of a key: "ZKDATA <field> <problem> <key>",
-- or the server's own words. The first one found; scripts return it as an
-- error before their first write.
local fault = nil

local function blame(key, field, problem)
  fault = fault or ('ZKDATA ' .. field .. ' ' .. problem .. ' ' .. key)
end

-- got returns the answer to a reading of a key of the given type, false for none
-- and for one that could not be read.
local function got(reply, kind, key)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'WRONGTYPE', 1, true) then
      blame(key, '-', 'not-' .. kind)
    else
      fault = fault or reply.err
    end
    return false
  end
  return reply
end

-- natural turns decimal digits into a number; nil for anything else, and for
-- what a Lua number does not hold exactly.
local function natural(value)
  local n = string.find(value, '^%d+$') and tonumber(value)
  return n and n <= 9007199254740991 and n or nil
end

-- whole turns the value of a field into a whole number; absent ones are 0.
local function whole(key, field, value)
  if not value then return 0 end
  local n = natural(value)
  if not n then blame(key, field, 'not-whole') end
  return n or 0
end

-- failures_in turns the field failures into a number.
local function failures_in(key, value)
  local n = whole(key, 'failures', value)
  return n <= failures_most and n or 0
end

-- digits writes a number in full: tostring gives 1.79e+15 for microseconds.
local function digits(n) return string.format('%.0f', n) end

-- civil returns year, month and day of a number of days since 1970-01-01.
local function civil(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year, month, day
end

-- rfc3339 writes an instant in milliseconds as people read it.
local function rfc3339(ms)
  local seconds = math.floor(ms / 1000)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  local year, month, day = civil(days)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day,
    math.floor(rest / 3600), math.floor(rest / 60) % 60, rest % 60, ms - seconds * 1000)
end

-- The issuer's day (UTC+8), and when it ends.
local day_ms, utc8_ms = 86400000, 8 * 3600000
local today = math.floor((now + utc8_ms) / day_ms)
local tomorrow_ms = (today + 1) * day_ms - utc8_ms

-- other_day looks at the key of the day's calls, which the caller names by the
-- server's clock as far as it knows it. Nil: it is of this day. Else the answer
-- that tells the caller which day it is, { "day", now, YYYYMMDD }: the script
-- returns it before anything is written.
local function other_day(key)
  local day = string.format('%04d%02d%02d', civil(today))
  if string.sub(key, -8) ~= day then return { 'day', digits(now), day } end
end

-- read_token reads the token's hash, in the order in which Go reads it. In all
-- scripts that use it the token is the first key.
local function read_token()
  return got(redis.pcall('HMGET', KEYS[1], 'access_token', 'generation', 'issued_at', 'expires_at', 'issued_by'),
    'hash', KEYS[1]) or {}
end

-- generation_of returns the generation of what read_token read; 0 for none, and
-- for one that is no number or not credible: such a record is replaced.
local function generation_of(token)
  return credible(token[2] and natural(token[2]) or 0)
end

-- record is what read_token read, with the life that is left and the time at
-- which the source wants to be asked again.
local function record(token, refresh_at)
  local ttl = (token[1] or token[2]) and redis.call('PTTL', KEYS[1]) or -2
  return { token[1], token[2], token[3], token[4], token[5], ttl, refresh_at }
end

-- json writes an object of names and values; empty strings are left out.
local function json(...)
  local given, out = { ... }, {}
  for i = 1, #given, 2 do
    local value = given[i + 1]
    if type(value) == 'number' then
      out[#out + 1] = '"' .. given[i] .. '":' .. digits(value)
    elseif value ~= '' then
      out[#out + 1] = '"' .. given[i] .. '":' .. cjson.encode(value)
    end
  end
  return '{' .. table.concat(out, ',') .. '}'
end
