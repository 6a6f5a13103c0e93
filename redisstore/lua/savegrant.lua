-- Stores a record of a grant in place of the version before it.
--
-- KEYS  1 grant, 2 state, 3 log, 4 changes
-- ARGV  see grant.lua
-- Returns one of
--   { "stored", now }                 also when an earlier run of it stored it
--   { "changed", now }                another version is stored than the one it was made of
--   { "unsettled", now, ms }          the store may have lost a newer record; nothing
--                                     but a consent is taken
--
-- Atomic, because the record, its order and what readers see of it must agree, and two
-- processes must not both take the place of one version. Safe to repeat: the save id
-- shows that it was done.

local last_fence = fence_of(got(redis.pcall('HMGET', KEYS[2], 'fence'), 'hash', KEYS[2]))
if fault then return redis.error_reply(fault) end

local new_version, new_consent = tonumber(ARGV[3]), tonumber(ARGV[5])
if version == new_version and stored[2] == ARGV[4] then return again() end

local left, since = settling()
if left > 0 and new_consent <= consent then return { 'unsettled', now_text, digits(left) } end
local follows = version == new_version - 1 and string.sub(stored[2] or '', 1, #ARGV[11]) == ARGV[11]
if not follows or new_consent < consent then return { 'changed', now_text } end

-- A consent of now replaces whatever anybody remembers. One that was given before this
-- server was first asked is repeated: what was lost may have been built on it.
local event = new_consent > consent and ARGV[9] == '' and 'consented' or '' -- pushes come too often
return store(event, left == 0 or new_consent >= (since - slack_ms) * 1000, last_fence)
