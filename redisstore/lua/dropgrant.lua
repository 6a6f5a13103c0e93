-- Removes a record of a grant.
--
-- KEYS  1 grant, 2 state, 3 log, 4 changes
-- ARGV  1 version, 2 save id
-- Returns 1, or 0: it is not what is stored; nothing was changed.
--
-- Atomic, because a newer record must not be removed.

got(redis.pcall('HMGET', KEYS[2], 'fence'), 'hash', KEYS[2])
if fault then return redis.error_reply(fault) end

if version == 0 or version ~= tonumber(ARGV[1]) or stored[2] ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], 'grant')
changed()
return 1
