-- Put between the prelude and each script about a grant. It reads the order of the
-- stored record, and whether the store may have lost its newest writes.
--
-- KEYS  1 grant, 2 state, 3 log, 4 changes
-- ARGV  of the scripts that write a record: 1 channel for grant, 2 by, 3 version,
--       4 save id, 5 consent, 6 the newest token's fence, 7 the sealed record,
--       8 its summary in JSON, 9 1 if its tokens are pushed, or "", 10 the caller who
--       asked for it, or "", 11 what the save id begins with of the version that the
--       record was made of, or ""
--
-- Constants that the scripts share with Go: settle_ms, how long a store waits for
-- newer records after its server has changed; slack_ms, by how much the clocks of a
-- store's servers may differ.

-- The replication ID is Redis' name for a history of the data: a server takes a new
-- one when it starts, and when it is promoted. The run ID would not do: a server that
-- was demoted and is promoted again has the same one. It is read here, in the script,
-- because a connection outlives a promotion. '' where a server does not tell it.
local replid = ''
local replication = redis.pcall('INFO', 'replication')
if type(replication) == 'string' then
  replid = string.match(replication, 'master_replid:(%x+)') or ''
elseif not string.find(replication.err, 'nknown') and not string.find(replication.err, 'not supported') then
  fault = replication.err
end

local stored = got(redis.pcall('HMGET', KEYS[1], 'version', 'save_id', 'consent', 'replid', 'settling_replid',
  'settling_since'), 'hash', KEYS[1]) or {}
local version = whole(KEYS[1], 'version', stored[1])
local consent = whole(KEYS[1], 'consent', stored[3])
if version == 0 and stored[2] then fault = fault or 'ZKDATA version missing ' .. KEYS[1] end
local change, anew = change_after(indexed and redis.pcall('ZRANGE', KEYS[4], '+inf', now_us_text, 'BYSCORE', 'REV',
  'LIMIT', '0', '1', 'WITHSCORES'), KEYS[4])

-- settling returns for how long other processes may still put a newer record back, in
-- ms, and since when; 0 if the record was taken in this history of the data, or if the
-- time is over. It notes when a server is asked for the first time. A record that is
-- not there may have been lost.
local function settling()
  if version > 0 and stored[4] == replid then return 0, now end
  local since = stored[5] == replid and stored[6] and natural(stored[6])
  if not since or since > now then
    since = now
    redis.call('HSET', KEYS[1], 'settling_replid', replid, 'settling_since', now_text)
  end
  return math.max(since + settle_ms - now, 0), since
end

-- changed says that what others read of the grant has changed.
local function changed()
  if anew then redis.call('DEL', KEYS[4]) end
  if change and redis.call('ZADD', KEYS[4], change, account) == 1 then
    redis.call('ZADD', KEYS[4], 'NX', digits(now_us - 1), '')
  end
end

-- fence_of returns the newest fence of what was read of the state.
local function fence_of(state) return credible(whole(KEYS[2], 'fence', state and state[1])) end

-- again writes a record's name once more, to have it confirmed: WAIT and WAITAOF count
-- only what their own connection has written.
local function again()
  redis.call('HSET', KEYS[1], 'save_id', ARGV[4])
  return { 'stored', now_text }
end

-- store writes the record. event is what the account's log says of it, '' for nothing;
-- settled: it is the newest that anybody can remember.
local function store(event, settled, last_fence)
  redis.call('HSET', KEYS[1], 'version', ARGV[3], 'save_id', ARGV[4], 'consent', ARGV[5], 'record', ARGV[7],
    'summary', ARGV[8], 'saved_at', rfc3339(now), 'saved_by', ARGV[2])
  if settled then
    redis.call('HSET', KEYS[1], 'replid', replid)
    redis.call('HDEL', KEYS[1], 'settling_replid', 'settling_since')
  end
  redis.call('HSET', KEYS[2], 'grant', ARGV[8])
  local fence = credible(math.max(tonumber(ARGV[5]), tonumber(ARGV[6])))
  -- No attempt is behind a token that the issuer pushes. Its fence would make the attempt
  -- under way a superseded one, and keep out a token that the store has lost.
  if ARGV[9] == '' and fence > last_fence then redis.call('HSET', KEYS[2], 'fence', digits(fence)) end
  if event ~= '' then
    redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', event, 'by', ARGV[2], 'asked_by', ARGV[10], 'fence', ARGV[5])
  end
  changed()
  redis.call('PUBLISH', ARGV[1], json('event', 'grant', 'grant', ARGV[8], 'by', ARGV[2]))
  return { 'stored', now_text }
end
