-- Adds an account to those that live on a grant, or removes it.
--
-- KEYS  1 members
-- ARGV  1 the account, 2 "add" or "remove"
-- Returns 1.
--
-- One script, because it always writes, also if there is nothing to change: WAIT and
-- WAITAOF count only what their own connection has written.

got(redis.pcall('ZSCORE', KEYS[1], ARGV[1]), 'sorted-set', KEYS[1])
if fault then return redis.error_reply(fault) end

if ARGV[2] == 'add' then redis.call('ZREM', KEYS[1], ARGV[1]) end
redis.call('ZADD', KEYS[1], now_text, ARGV[1])
if ARGV[2] == 'remove' then redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1
