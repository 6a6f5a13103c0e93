-- Put in front of every script. It reads the clock once, and checks what was read,
-- so that unexpected contents of a key are found before anything is written: a
-- script that fails halfway is not rolled back.
--
-- A script gets only the declarations of this file that it uses, because Redis makes
-- them anew for each call: five functions cost as much as a command. A blank line ends a
-- declaration.
--
-- Proxies and cluster editions parse scripts, and refuse one in which the key of a
-- redis.call is not written as KEYS[n], or that uses unpack. So no function here
-- takes the key that it is to read; it takes the answer.
--
-- Converting a number takes a third of the time of a command. So a number that is an
-- argument of redis.call is written as a text where that is possible, and a text that is
-- calculated with is not given to tonumber, which converts it twice.
--
-- Constants that the scripts share with Go; their values are put in their place:
--   most_ahead     how far ahead of the clock the deadline of a lock or an attempt
--                  may be, in ms
--   fence_ahead    how far ahead of the clock a fence may be, in us
--   retry_ahead    how far ahead of the clock the end of a back-off may be, in ms
--   life_most      the longest life of a token, in ms
--   pace_burst     how many refreshes that no caller demanded may follow each other
--                  at once
--   failures_most  the greatest number of failures in a row that is written; a
--                  greater one is taken as none
--   attempts_most  how many open attempts are read, as a text; a Store leaves no more
--                  than a hundred open
--   calls_seconds  how long the calls of a day are kept, as a text
--   day_ms         the length of a day, in ms
--   utc8_ms        how far the issuer's clock (UTC+8) is ahead of UTC, in ms
--   daily_budget, call_budget, minimum_interval, back_off, loop_brake
--                  the names of the limits

local clock = redis.call('TIME')
local now_us_text = clock[1] .. string.sub('00000' .. clock[2], -6)
local now_text = string.sub(now_us_text, 1, -4)
local now_us, now = now_us_text + 0, now_text + 0

-- overdue reports whether an attempt with this deadline is overdue. A deadline
-- further ahead than any can be was written before the clock was set back.
local function overdue(deadline) return deadline <= now or deadline > now + most_ahead end

-- credible returns the fence, or 0 if it is further ahead of the clock than any
-- fence that was issued: such a fence is ignored, and a record with such a generation,
-- or one that is not a number, is replaced.
local function credible(fence) return fence <= now_us + fence_ahead and fence or 0 end

-- The first problem found with the contents of a key: "ZKDATA <field> <problem>
-- <key>", or the server's own words. Scripts return it as an error before their
-- first write.
local fault = nil

-- got returns the answer to a read of a key of the given type, which is not a number;
-- false if there is none, or if the key has another type.
local function got(reply, kind, key)
  if reply and reply.err then
    local other = string.find(reply.err, 'WRONGTYPE', 1, true)
    fault = fault or other and 'ZKDATA - not-' .. kind .. ' ' .. key or reply.err
    return false
  end
  return reply
end

-- natural converts decimal digits to a number. It returns nil for anything else,
-- and for numbers that Lua does not represent exactly.
local function natural(value)
  local n = string.find(value, '^%d+$') and value + 0
  return n and n <= 9007199254740991 and n or nil
end

-- whole converts the value of a field to a whole number; 0 if it is absent.
local function whole(key, field, value)
  if not value then return 0 end
  local n = natural(value)
  if not n then fault = fault or 'ZKDATA ' .. field .. ' not-whole ' .. key end
  return n or 0
end

-- digits writes a whole number in full: tostring gives 1.79e+15 for microseconds.
local function digits(n) return string.format('%d', n) end

-- civil returns year, month and day of a number of days since 1970-01-01, by the
-- algorithm of Neri and Schneider: years begin in March, so that the leap day is last.
local function civil(days)
  local n = 4 * days + 2877875
  local in_century = n % 146097
  local m = in_century - in_century % 4 + 3
  local in_year = m % 1461
  local year = (n - in_century) / 146097 * 100 + (m - in_year) / 1461
  local k = (in_year - in_year % 4) / 4 * 5 + 461
  local in_month = k % 153
  local month, day = (k - in_month) / 153, (in_month - in_month % 5) / 5 + 1
  if month > 12 then return year + 1, month - 12, day end
  return year, month, day
end

-- The issuer's day, and when it ends.
local today = (now + utc8_ms - (now + utc8_ms) % day_ms) / day_ms
local tomorrow_ms = (today + 1) * day_ms - utc8_ms

-- wrong_day is the answer of a script that the key of another day's calls was given,
-- { "day", now, YYYYMMDD }; false if the day is right. A caller names the key by its
-- estimate of the server's clock, so a script looks at this before it does anything. In
-- all scripts that use it the calls are the fourth key.
local wrong_day = false
do
  local year, month, day = civil(today)
  local date = year * 10000 + month * 100 + day
  if tonumber(string.sub(KEYS[4], -8)) ~= date then wrong_day = { 'day', now_text, digits(date) } end
end

-- read_token reads the token's hash with its remaining life; the order of the fields is
-- that of Go. In all scripts that use it the token is the first key. A script returns it
-- with one more field, the time at which the source asked to be called again.
local function read_token()
  local token = got(redis.pcall('HMGET', KEYS[1], 'access_token', 'generation', 'issued_at', 'expires_at', 'issued_by',
    'attributes', 'repeated'), 'hash', KEYS[1]) or {}
  token[8] = (token[1] or token[2]) and redis.call('PTTL', KEYS[1]) or -2
  return token
end
