-- Writes the stored record of a grant again, sealed with another key.
--
-- KEYS  1 grant, 2 state, 3 log, 4 changes
-- ARGV  1 version, 2 save id, 3 the sealed record
-- Returns 1, or 0: another record is stored by now; nothing was changed.
--
-- Atomic, because a newer record must not be replaced.

if fault then return redis.error_reply(fault) end

if version ~= tonumber(ARGV[1]) or stored[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[3])
return 1
