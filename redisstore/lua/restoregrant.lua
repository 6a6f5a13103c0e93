-- Puts back a record of a grant that the store has lost.
--
-- KEYS  1 grant, 2 state, 3 log, 4 changes
-- ARGV  see grant.lua
-- Returns { "stored", now }, or { "newer", now }: the stored record is not older;
--   nothing was changed.
--
-- Atomic, because no newer record may come between the check and the write. Safe to
-- repeat: the save id shows that it was done. Others may remember a still newer record,
-- so the store is no more settled than before.

local last_fence = fence_of(got(redis.pcall('HMGET', KEYS[2], 'fence'), 'hash', KEYS[2]))
if fault then return redis.error_reply(fault) end

local new_version, new_consent = tonumber(ARGV[3]), tonumber(ARGV[5])
if version == new_version and stored[2] == ARGV[4] then return again() end
if new_consent < consent or new_consent == consent and new_version <= version then return { 'newer', now_text } end

settling()
return store('grant-restored', false, last_fence)
