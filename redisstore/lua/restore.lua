-- Stores again a record that the store has lost.
--
-- KEYS  1 token, 2 state, 3 attempts, 4 log, 5 changes
-- ARGV  1 channel for restored, 2 by, 3 generation, 4 token, 5 issued at,
--       6 expires at, 7 refresh at (0: none), 8 remaining life in ms,
--       9 margin in ms, 10 issued by, 11 attributes in JSON, or "", 12 1 if the issuer
--       has only repeated it, or ""; instants in ms
-- Returns one of
--   { "stored", now, record }      the record that is stored now, this one or a newer one
--   { "refused", now }             a newer attempt was made, the record has expired,
--                                  or its generation or life is not credible
--
-- Atomic, because no newer fence may be issued between the check of the newest one
-- and the write. Safe to repeat: the stored generation shows that it was done.

local generation, issued_at, expires_at = tonumber(ARGV[3]), tonumber(ARGV[5]), tonumber(ARGV[6])
local refresh_at, ttl = tonumber(ARGV[7]), tonumber(ARGV[8])

local token = read_token()
local stored = credible(token[2] and natural(token[2]) or 0)
local fields = got(redis.pcall('HMGET', KEYS[2], 'fence', 'refresh_at'), 'hash', KEYS[2]) or {}
local last_fence = credible(whole(KEYS[2], 'fence', fields[1]))
got(redis.pcall('ZSCORE', KEYS[3], ARGV[3]), 'sorted-set', KEYS[3])
local change, anew = change_after(indexed and redis.pcall('ZRANGE', KEYS[5], '+inf', now_us_text, 'BYSCORE', 'REV',
  'LIMIT', '0', '1', 'WITHSCORES'), KEYS[5])
if fault then return redis.error_reply(fault) end

if stored >= generation then
  -- Written once more, to have it confirmed: WAIT counts only what its own connection has
  -- written. A server whose memory is full refuses that: the token is stored all the same.
  -- One that has become a replica refuses it, too, and will lose the token.
  local refused = redis.pcall('HSET', KEYS[1], 'generation', token[2])
  if type(refused) == 'table' and string.sub(refused.err, 1, 3) ~= 'OOM' then return refused end
  token[9] = fields[2]
  return { 'stored', now_text, token }
end
if last_fence > generation or credible(generation) == 0 or ttl <= 0 or ttl > life_most then
  return { 'refused', now_text }
end

-- The instants are of the clock of the server that lost the record. If this server's
-- clock differs by minutes, the schedule would be off by as much: then the remaining
-- life decides.
local margin, gap = tonumber(ARGV[9]), expires_at - now - ttl
if math.abs(gap) > margin + 300000 then
  local drift = margin - gap
  issued_at, expires_at = issued_at + drift, expires_at + drift
  if refresh_at > 0 then refresh_at = refresh_at + drift end
end

local issued, expires = rfc3339(issued_at), rfc3339(expires_at)
if token[6] or token[7] then redis.call('HDEL', KEYS[1], 'attributes', 'repeated') end
redis.call('HSET', KEYS[1], 'access_token', ARGV[4], 'generation', ARGV[3], 'issued_at', issued,
  'expires_at', expires, 'issued_by', ARGV[10])
if ARGV[11] ~= '' then redis.call('HSET', KEYS[1], 'attributes', ARGV[11]) end
if ARGV[12] ~= '' then redis.call('HSET', KEYS[1], 'repeated', ARGV[12]) end
redis.call('PEXPIRE', KEYS[1], digits(ttl))
redis.call('HSET', KEYS[2], 'fence', ARGV[3])
redis.call('ZREM', KEYS[3], ARGV[3]) -- the begin may be there, and only the commit lost
local refresh = ''
if refresh_at > 0 then
  redis.call('HSET', KEYS[2], 'refresh_at', digits(refresh_at))
  refresh = rfc3339(refresh_at)
else
  redis.call('HDEL', KEYS[2], 'refresh_at')
end
if anew then redis.call('DEL', KEYS[5]) end
if change and redis.call('ZADD', KEYS[5], change, account) == 1 then
  redis.call('ZADD', KEYS[5], 'NX', digits(now_us - 1), '')
end
redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'restored', 'by', ARGV[2], 'fence', ARGV[3],
  'ttl_ms', ARGV[8])
redis.call('PUBLISH', ARGV[1], json('event', 'restored', 'access_token', ARGV[4], 'generation', generation,
  'issued_at', issued, 'expires_at', expires, 'issued_by', ARGV[10], 'ttl_ms', ttl, 'refresh_at', refresh,
  'attributes', ARGV[11], 'repeated', tonumber(ARGV[12]) or '', 'by', ARGV[2], 'change', change or ''))
return { 'stored', now_text,
  { ARGV[4], ARGV[3], issued, expires, ARGV[10], ARGV[11], ARGV[12], ttl, refresh_at > 0 and digits(refresh_at) } }
