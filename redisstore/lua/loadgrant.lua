-- Reads an account's grant.
--
-- KEYS  1 grant, 2 state, 3 log, 4 changes
-- ARGV  none
-- Returns { now, for how many ms the store is not settled, version or 0, save id,
--   consent, the sealed record }.
--
-- One script, because whether the store has lost writes, and the record that it has,
-- must be of one moment. It writes only when a server is asked for the first time.

local fields = got(redis.pcall('HMGET', KEYS[1], 'record'), 'hash', KEYS[1])
if fault then return redis.error_reply(fault) end

local left = settling()
return { now_text, digits(left), digits(version), stored[2], digits(consent), fields[1] }
