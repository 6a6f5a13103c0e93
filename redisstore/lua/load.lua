-- Reads the state of an account.
--
-- KEYS  1 token, 2 state, 3 attempts, 4 the day's calls, 5 lock
-- ARGV  none
-- Returns { now, record, state, attempts with deadlines, the day's calls, lock's
--   value, lock's PTTL }; record as read_token reads it, state the fields below in
--   their order. Or { "day", now, YYYYMMDD }: KEYS[4] is not of this day.
--
-- One script, because a token, its life and the attempts that were read at different
-- moments may never have existed together. A process that only reads does the same
-- in a transaction.

if wrong_day then return wrong_day end

local token = read_token()
local state = got(redis.pcall('HMGET', KEYS[2], 'fence', 'failures', 'retry_at', 'conflicts', 'refresh_at',
  'last_error', 'last_error_code', 'last_error_at', 'last_error_kind', 'refused_credential',
  'window_ends', 'window_calls', 'grant'), 'hash', KEYS[2]) or {}
local attempts = got(redis.pcall('ZRANGE', KEYS[3], '0', attempts_most, 'WITHSCORES'), 'sorted-set', KEYS[3])
local calls = got(redis.pcall('GET', KEYS[4]), 'string', KEYS[4])
local holder = got(redis.pcall('GET', KEYS[5]), 'string', KEYS[5])
if fault then return redis.error_reply(fault) end

token[9] = state[5]
return {
  now_text, token, state, attempts, calls, holder,
  holder and redis.call('PTTL', KEYS[5]) or 0,
}
