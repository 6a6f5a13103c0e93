-- Reads all that is known of an account, for State.
--
-- KEYS  1 token, 2 state, 3 attempts, 4 calls (without the day), 5 lock
-- ARGV  none
-- Returns { now, record, state, attempts with deadlines, calls today, lock's
--   value, lock's PTTL }; record as in prelude.lua, state the fields below in
--   their order.
--
-- One script, because a token, its life and the attempts that were read at
-- different moments may never have been there together. A process that only
-- reads does the same in a transaction (load.go).

local token = read_token(KEYS[1])
local state = ask('hash', 'HMGET', KEYS[2], 'fence', 'failures', 'retry_at', 'conflicts', 'refresh_at',
  'last_error', 'last_error_code', 'last_error_at', 'last_error_kind', 'refused_credential') or {}
local attempts = ask('sorted-set', 'ZRANGE', KEYS[3], 0, attempts_most, 'WITHSCORES')
local calls = ask('string', 'GET', calls_key(KEYS[4]))
local holder = ask('string', 'GET', KEYS[5])
if fault then return redis.error_reply(fault) end

return {
  digits(now), record(KEYS[1], token, state[5]), state, attempts, calls, holder,
  holder and redis.call('PTTL', KEYS[5]) or 0,
}
