-- Extends the lock and the deadline of the attempt that was made under it.
--
-- KEYS  1 lock, 2 attempts
-- ARGV  1 the lock's value, 2 life in ms, 3 fence or 0
-- Returns 1, or 0: the lock is no longer held; nothing was changed.
--
-- Atomic, because a deadline that is moved after another process has got the lock
-- would hide the attempt from that process' begin. For the same reason an attempt
-- that has become overdue remains overdue: a begin may have listed it, and its
-- commit would settle an attempt that is still under way.

local holder = got(redis.pcall('GET', KEYS[1]), 'string', KEYS[1])
local deadline = got(redis.pcall('ZSCORE', KEYS[2], ARGV[3]), 'sorted-set', KEYS[2])
if fault then return redis.error_reply(fault) end

if holder ~= ARGV[1] then return 0 end
if deadline and overdue(tonumber(deadline)) then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if deadline then
  redis.call('ZADD', KEYS[2], 'XX', digits(now + tonumber(ARGV[2])), ARGV[3])
end
return 1
