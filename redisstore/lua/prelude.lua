-- Put in front of every script. It reads the clock once, and checks what was read,
-- so that unexpected contents of a key are found before anything is written: a
-- script that fails halfway is not rolled back.
--
-- Proxies and cluster editions parse scripts, and refuse one in which the key of a
-- redis.call is not written as KEYS[n], or that uses unpack. So no function here
-- takes the key that it is to read; it takes the answer.
--
-- A number that is an argument of redis.call is written as a text where that is
-- possible: Redis takes longer to write one than many a command takes.
--
-- Constants that the scripts share with Go are declared in front of this file by
-- the program that loads it:
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
--   daily_budget, call_budget, minimum_interval, back_off, loop_brake
--                  the names of the limits

local floor = math.floor
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = floor(now_us / 1000)

-- overdue reports whether an attempt with this deadline is overdue. A deadline
-- further ahead than any can be was written before the clock was set back.
local function overdue(deadline) return deadline <= now or deadline > now + most_ahead end

-- credible returns the fence, or 0 if it is further ahead of the clock than any
-- fence that was issued: such a fence is ignored.
local function credible(fence) return fence <= now_us + fence_ahead and fence or 0 end

-- The first problem found with the contents of a key: "ZKDATA <field> <problem>
-- <key>", or the server's own words. Scripts return it as an error before their
-- first write.
local fault = nil

local function blame(key, field, problem)
  fault = fault or ('ZKDATA ' .. field .. ' ' .. problem .. ' ' .. key)
end

-- got returns the answer to a read of a key of the given type; false if there is
-- none, or if the key has another type.
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

-- natural converts decimal digits to a number. It returns nil for anything else,
-- and for numbers that Lua does not represent exactly.
local function natural(value)
  local n = string.find(value, '^%d+$') and tonumber(value)
  return n and n <= 9007199254740991 and n or nil
end

-- whole converts the value of a field to a whole number; 0 if it is absent.
local function whole(key, field, value)
  if not value then return 0 end
  local n = natural(value)
  if not n then blame(key, field, 'not-whole') end
  return n or 0
end

-- failures_in converts the value of the field failures.
local function failures_in(key, value)
  local n = whole(key, 'failures', value)
  return n <= failures_most and n or 0
end

-- window_of converts the fields of the account's own window of calls: when it ends, and
-- the calls in it. 0 and 0 if there is none.
local function window_of(key, ends, calls)
  return whole(key, 'window_ends', ends), whole(key, 'window_calls', calls)
end

-- digits writes a whole number in full: tostring gives 1.79e+15 for microseconds.
local function digits(n) return string.format('%d', n) end

-- civil returns year, month and day of a number of days since 1970-01-01. A script asks
-- for one day or two.
local civil_of, civil_year, civil_month, civil_day
local function civil(days)
  if days ~= civil_of then
    local z = days + 719468
    local era = floor(z / 146097)
    local doe = z - era * 146097
    local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
    local mp = floor((5 * doy + 2) / 153)
    civil_of, civil_day = days, doy - floor((153 * mp + 2) / 5) + 1
    civil_month = mp < 10 and mp + 3 or mp - 9
    civil_year = yoe + era * 400 + (civil_month <= 2 and 1 or 0)
  end
  return civil_year, civil_month, civil_day
end

-- The issuer's day (UTC+8), and when it ends.
local day_ms, utc8_ms = 86400000, 8 * 3600000
local today = floor((now + utc8_ms) / day_ms)
local tomorrow_ms = (today + 1) * day_ms - utc8_ms

-- other_day checks the key of the day's calls, which the caller has named by its
-- estimate of the server's clock. It returns nil if the key is of this day; else the
-- answer that tells the caller the day, { "day", now, YYYYMMDD }, which the script
-- returns before anything is written.
local function other_day(key)
  local year, month, day = civil(today)
  local date = year * 10000 + month * 100 + day
  if tonumber(string.sub(key, -8)) ~= date then return { 'day', digits(now), digits(date) } end
end

-- read_token reads the token's hash; the order of the fields is that of Go. In all
-- scripts that use it the token is the first key.
local function read_token()
  return got(redis.pcall('HMGET', KEYS[1], 'access_token', 'generation', 'issued_at', 'expires_at', 'issued_by',
    'attributes', 'repeated'), 'hash', KEYS[1]) or {}
end

-- generation_of converts the field generation of the token; 0 if there is none, or if it
-- is not a number or not credible: such a record is replaced.
local function generation_of(value)
  return credible(value and natural(value) or 0)
end

-- record returns what read_token read, with the remaining life and the time at which
-- the source asked to be called again.
local function record(token, refresh_at)
  local ttl = (token[1] or token[2]) and redis.call('PTTL', KEYS[1]) or -2
  return { token[1], token[2], token[3], token[4], token[5], token[6], token[7], ttl, refresh_at }
end
