-- Stores the token of an attempt and settles what it may settle.
--
-- KEYS  1 token, 2 state, 3 attempts, 4 the day's calls, 5 log, 6 changes
-- ARGV  1 channel for refreshed, 2 by, 3 fence, 4 token, 5 life in ms,
--       6 age in ms, 7 margin in ms, 8 refresh in ms, if the source asked for it (or 0),
--       9 reason, 10 took in ms, 11 calls, 12 the caller who demanded it, or "",
--       13 attributes in JSON, or "", 14 1 if the issuer has only repeated the token
--       that a caller wanted replaced, or "", 15... fences overdue at the begin
-- Returns one of
--   { "day", now, YYYYMMDD }         KEYS[4] is not of this day; nothing was done
--   { "stored", now, record, why the log could not be written }
--                                    also when an earlier run of it stored it
--   { "superseded", now }            the attempt is open and overdue
--
-- Atomic, because no newer fence may be issued between the check of the newest one
-- and the write. Safe to repeat: the stored generation shows that it was done.

local wrong_day = other_day(KEYS[4])
if wrong_day then return wrong_day end

local fence, life, age = tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[6])
local refresh_in, extra_calls = tonumber(ARGV[8]), tonumber(ARGV[11]) - 1

local token = got(redis.pcall('HMGET', KEYS[1], 'generation', 'attributes', 'repeated'), 'hash', KEYS[1]) or {}
local generation = generation_of(token[1])
local fields = got(redis.pcall('HMGET', KEYS[2], 'fence', 'refresh_at', 'retry_at', 'refused_credential', 'failures'),
  'hash', KEYS[2]) or {}
local last_fence = credible(whole(KEYS[2], 'fence', fields[1]))
local window_ends, window_calls = 0, 0
got(redis.pcall('ZSCORE', KEYS[3], ARGV[3]), 'sorted-set', KEYS[3])
if extra_calls > 0 then
  local window = got(redis.pcall('HMGET', KEYS[2], 'window_ends', 'window_calls'), 'hash', KEYS[2]) or {}
  window_ends, window_calls = window_of(KEYS[2], window[1], window[2])
  whole(KEYS[4], '-', got(redis.pcall('GET', KEYS[4]), 'string', KEYS[4]))
end
local change, anew = change_after(indexed and redis.pcall('ZRANGE', KEYS[6], '0', '0', 'REV', 'WITHSCORES'), KEYS[6])
if fault then return redis.error_reply(fault) end

if generation == fence then
  return { 'stored', digits(now), record(read_token(), fields[2]) }
end

if extra_calls > 0 then
  redis.call('INCRBY', KEYS[4], digits(extra_calls))
  redis.call('EXPIRE', KEYS[4], calls_seconds)
  if window_ends > now then redis.call('HSET', KEYS[2], 'window_calls', digits(window_calls + extra_calls)) end
end

-- A fence that is not credible was issued before the clock was set back by more than
-- a day.
if last_fence > fence or generation > fence or credible(fence) == 0 then
  -- Open again even if a successor has settled it: that commit assumed that the
  -- attempt would bring no token.
  redis.call('ZADD', KEYS[3], digits(now), ARGV[3])
  if anew then
    redis.call('DEL', KEYS[6])
    redis.call('ZADD', KEYS[6], digits(now_us), '')
  end
  if change then redis.call('ZADD', KEYS[6], change, account) end
  redis.pcall('XADD', KEYS[5], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'superseded', 'by', ARGV[2], 'asked_by', ARGV[12], 'reason', ARGV[9],
    'fence', ARGV[3], 'newer', digits(math.max(last_fence, generation)), 'took_ms', ARGV[10])
  return { 'superseded', digits(now) }
end

local issued_at, expires_at = rfc3339(now - age), rfc3339(now - age + life)
local ttl = math.max(life - age - tonumber(ARGV[7]), 1)
if token[2] or token[3] then redis.call('HDEL', KEYS[1], 'attributes', 'repeated') end
redis.call('HSET', KEYS[1], 'access_token', ARGV[4], 'generation', ARGV[3], 'issued_at', issued_at,
  'expires_at', expires_at, 'issued_by', ARGV[2])
if ARGV[13] ~= '' then redis.call('HSET', KEYS[1], 'attributes', ARGV[13]) end
if ARGV[14] ~= '' then redis.call('HSET', KEYS[1], 'repeated', ARGV[14]) end
redis.call('PEXPIRE', KEYS[1], digits(ttl))
if fields[1] ~= ARGV[3] or fields[5] and fields[5] ~= '0' then -- begin has written the fence
  redis.call('HSET', KEYS[2], 'fence', ARGV[3], 'failures', '0')
end
if fields[3] or fields[4] then redis.call('HDEL', KEYS[2], 'retry_at', 'refused_credential') end
local refresh_at = refresh_in > 0 and digits(now - age + refresh_in)
if refresh_at then
  redis.call('HSET', KEYS[2], 'refresh_at', refresh_at)
elseif fields[2] then
  redis.call('HDEL', KEYS[2], 'refresh_at')
end
redis.call('ZREM', KEYS[3], ARGV[3])
for i = 15, #ARGV do redis.call('ZREM', KEYS[3], ARGV[i]) end
-- The log is only informative: a refresh does not fail because of it.
local logged = redis.pcall('XADD', KEYS[5], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'refreshed', 'by', ARGV[2], 'asked_by', ARGV[12],
  'reason', ARGV[9], 'fence', ARGV[3], 'took_ms', ARGV[10], 'life_ms', ARGV[5],
  'repeated', ARGV[14])
if anew then
  redis.call('DEL', KEYS[6])
  redis.call('ZADD', KEYS[6], digits(now_us), '')
end
if change then redis.call('ZADD', KEYS[6], change, account) end
local by = cjson.encode(ARGV[2])
redis.call('PUBLISH', ARGV[1], '{"event":"refreshed","access_token":' .. cjson.encode(ARGV[4]) .. ',"generation":' .. ARGV[3] ..
  ',"issued_at":"' .. issued_at .. '","expires_at":"' .. expires_at .. '","issued_by":' .. by .. ',"ttl_ms":' .. digits(ttl) ..
  (refresh_at and ',"refresh_at":"' .. rfc3339(now - age + refresh_in) .. '"' or '') ..
  (ARGV[13] ~= '' and ',"attributes":' .. ARGV[13] or '') .. (ARGV[14] ~= '' and ',"repeated":1' or '') ..
  ',"reason":' .. cjson.encode(ARGV[9]) .. ',"by":' .. by .. (change and ',"change":"' .. change .. '"' or '') .. '}')
return { 'stored', digits(now),
  { ARGV[4], ARGV[3], issued_at, expires_at, ARGV[2], ARGV[13], ARGV[14], ttl, refresh_at },
  type(logged) == 'table' and logged.err or false }
