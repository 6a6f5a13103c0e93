-- Records that an attempt brought no token.
--
-- KEYS  1 token, 2 state, 3 attempts, 4 the day's calls, 5 log, 6 changes
-- ARGV  1 channel for failed, 2 by, 3 fence, 4 kind, 5 code, 6 message,
--       7 credential, 8 retry in ms, 9 reason, 10 took in ms, 11 calls,
--       12 the caller who demanded it, or ""
-- Returns 1, or 0: it was recorded before, or may have been, because a newer attempt has
--   failed since, or the attempt has its token;
--   or { "day", now, YYYYMMDD }: KEYS[4] is not of this day; nothing was done.
--
-- Atomic, because a failure applies to the fleet only if no newer attempt has
-- succeeded or failed meanwhile. Safe to repeat: failed_fence is the attempt whose failure
-- was recorded last. It is no newer than the newest fence, unless it was forged.

if wrong_day then return wrong_day end

local fence, kind = tonumber(ARGV[3]), ARGV[4]
local retry_in, extra_calls = tonumber(ARGV[8]), tonumber(ARGV[11]) - 1

local stored = got(redis.pcall('HMGET', KEYS[1], 'generation'), 'hash', KEYS[1]) or {}
local generation = credible(stored[1] and natural(stored[1]) or 0)
local fields = got(redis.pcall('HMGET', KEYS[2], 'failures', 'failed_fence', 'window_ends', 'window_calls', 'fence'),
  'hash', KEYS[2]) or {}
local failures = whole(KEYS[2], 'failures', fields[1])
if failures > failures_most then failures = 0 end
local window_ends, window_calls = whole(KEYS[2], 'window_ends', fields[3]), whole(KEYS[2], 'window_calls', fields[4])
local failed_fence = fields[2] and natural(fields[2]) or 0
local late = failed_fence > fence and failed_fence <= credible(fields[5] and natural(fields[5]) or 0)
got(redis.pcall('ZSCORE', KEYS[3], ARGV[3]), 'sorted-set', KEYS[3])
local calls = whole(KEYS[4], '-', got(redis.pcall('GET', KEYS[4]), 'string', KEYS[4]))
local change, anew = change_after(indexed and redis.pcall('ZRANGE', KEYS[6], '+inf', now_us_text, 'BYSCORE', 'REV',
  'LIMIT', '0', '1', 'WITHSCORES'), KEYS[6])
if fault then return redis.error_reply(fault) end

if failed_fence == fence or generation == fence then return 0 end

if kind == 'unknown' then
  redis.call('ZADD', KEYS[3], now_text, ARGV[3])
else
  redis.call('ZREM', KEYS[3], ARGV[3])
end
if anew then redis.call('DEL', KEYS[6]) end
if change and redis.call('ZADD', KEYS[6], change, account) == 1 then
  redis.call('ZADD', KEYS[6], 'NX', digits(now_us - 1), '')
end
if late then return 0 end

if extra_calls > 0 or calls > 0 then
  -- Negative only when the day has changed since the begin.
  if extra_calls ~= 0 then redis.call('INCRBY', KEYS[4], digits(extra_calls)) end
  redis.call('EXPIRE', KEYS[4], calls_seconds)
end
if window_ends > now then
  redis.call('HSET', KEYS[2], 'window_calls', digits(math.max(window_calls + extra_calls, 0)))
end

-- A failure that is older than the stored token is reported, but has no effect: the
-- source has issued a token since.
local binding = generation < fence
if binding then
  failures = math.min(failures + 1, failures_most)
  redis.call('HSET', KEYS[2], 'failures', digits(failures), 'retry_at', digits(now + retry_in))
  if kind == 'refused' and ARGV[7] ~= '' then
    redis.call('HSET', KEYS[2], 'refused_credential', ARGV[7])
  else
    redis.call('HDEL', KEYS[2], 'refused_credential')
  end
else
  retry_in = 0
end
redis.call('HSET', KEYS[2], 'failed_fence', ARGV[3], 'last_error', ARGV[6], 'last_error_code', ARGV[5],
  'last_error_at', now_text, 'last_error_kind', kind)
redis.pcall('XADD', KEYS[5], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'failed', 'by', ARGV[2], 'asked_by', ARGV[12], 'reason', ARGV[9],
  'fence', ARGV[3], 'kind', kind, 'code', ARGV[5], 'error', ARGV[6], 'took_ms', ARGV[10], 'retry_ms', digits(retry_in))
-- A whole number is a number in JSON, as coordinator.Code has it.
local code = #ARGV[5] < 16 and ARGV[5]:match('^-?[1-9]%d*$') and tonumber(ARGV[5]) or ARGV[5]
redis.call('PUBLISH', ARGV[1], json('event', 'failed', 'kind', kind, 'code', code, 'error', ARGV[6],
  'fence', fence, 'by', ARGV[2], 'reason', ARGV[9], 'failures', failures, 'at', rfc3339(now),
  'retry_ms', retry_in, 'credential', ARGV[7]))
return 1
