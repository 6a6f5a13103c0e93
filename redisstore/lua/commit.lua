-- Stores the token of an attempt and settles what it may settle.
--
-- KEYS  1 token, 2 state, 3 attempts, 4 the day's calls, 5 log, 6 changes
-- ARGV  1 channel for refreshed, 2 by, 3 fence, 4 token, 5 life in ms,
--       6 age in ms, 7 TTL in ms, 8 refresh in ms, if the source asked for it (or 0),
--       9 reason, 10 took in ms, 11 calls, 12 the caller who demanded it, or "",
--       13 attributes in JSON, or "", 14 1 if the issuer has only repeated the token
--       that a caller wanted replaced, or "", 15... fences overdue at the begin
--       Those from 12 on may be left out at the end.
-- Returns one of
--   { "day", now, YYYYMMDD }         KEYS[4] is not of this day; nothing was done
--   { "stored", now, false, why the log could not be written }
--                                    the record is what ARGV says, of the time now
--   { "stored", now, record }        an earlier run of it has stored that
--   { "superseded", now }            the attempt is open and overdue
--
-- Atomic, because no newer fence may be issued between the check of the newest one
-- and the write. Safe to repeat: the stored generation shows that it was done.

if wrong_day then return wrong_day end

local fence, issued, extra_calls = ARGV[3] + 0, now - ARGV[6], ARGV[11] - 1
local asked_by, attributes, repeated = ARGV[12] or '', ARGV[13] or '', ARGV[14] or ''

local token = got(redis.pcall('HMGET', KEYS[1], 'generation', 'attributes', 'repeated'), 'hash', KEYS[1]) or {}
local generation = credible(token[1] and natural(token[1]) or 0)
local fields = got(redis.pcall('HMGET', KEYS[2], 'fence', 'refresh_at', 'failures'), 'hash', KEYS[2]) or {}
local last_fence = credible(fields[1] == ARGV[3] and fence or whole(KEYS[2], 'fence', fields[1]))
local window_ends, window_calls = 0, 0
if extra_calls > 0 then
  local window = got(redis.pcall('HMGET', KEYS[2], 'window_ends', 'window_calls'), 'hash', KEYS[2]) or {}
  window_ends, window_calls = whole(KEYS[2], 'window_ends', window[1]), whole(KEYS[2], 'window_calls', window[2])
  whole(KEYS[4], '-', got(redis.pcall('GET', KEYS[4]), 'string', KEYS[4]))
end
local change, anew = change_after(indexed and redis.pcall('ZRANGE', KEYS[6], '+inf', now_us_text, 'BYSCORE', 'REV',
  'LIMIT', '0', '1', 'WITHSCORES'), KEYS[6])
if fault then return redis.error_reply(fault) end

if generation == fence then
  -- Written once more, to have it confirmed: WAIT counts only what its own connection has
  -- written. A server whose memory is full refuses that: the token is stored all the same.
  -- One that has become a replica refuses it, too, and will lose the token.
  local refused = redis.pcall('HSET', KEYS[1], 'generation', token[1])
  if type(refused) == 'table' and string.sub(refused.err, 1, 3) ~= 'OOM' then return refused end
  token = read_token()
  token[9] = fields[2]
  return { 'stored', now_text, token }
end

-- A fence that is not credible was issued before the clock was set back by more than
-- a day. If the attempt is superseded, it is open again even if a successor has settled
-- it: that commit assumed that the attempt would bring no token.
--
-- Either is the first write, and finds out whether its key has another type.
local superseded = last_fence > fence or generation > fence or credible(fence) == 0
local written
if superseded then
  written = redis.pcall('ZADD', KEYS[3], now_text, ARGV[3])
else
  written = redis.pcall('ZREM', KEYS[3], ARGV[3])
end
if type(written) == 'table' then
  got(written, 'sorted-set', KEYS[3])
  return redis.error_reply(fault)
end

if extra_calls > 0 then
  redis.call('INCRBY', KEYS[4], digits(extra_calls))
  redis.call('EXPIRE', KEYS[4], calls_seconds)
  if window_ends > now then redis.call('HSET', KEYS[2], 'window_calls', digits(window_calls + extra_calls)) end
end
if anew then redis.call('DEL', KEYS[6]) end
if change and redis.call('ZADD', KEYS[6], change, account) == 1 then
  redis.call('ZADD', KEYS[6], 'NX', digits(now_us - 1), '')
end

if superseded then
  redis.pcall('XADD', KEYS[5], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'superseded', 'by', ARGV[2], 'asked_by', asked_by, 'reason', ARGV[9],
    'fence', ARGV[3], 'newer', digits(math.max(last_fence, generation)), 'took_ms', ARGV[10])
  return { 'superseded', now_text }
end

local issued_at, expires_at = rfc3339(issued), rfc3339(issued + ARGV[5])
if token[2] or token[3] then redis.call('HDEL', KEYS[1], 'attributes', 'repeated') end
redis.call('HSET', KEYS[1], 'access_token', ARGV[4], 'generation', ARGV[3], 'issued_at', issued_at,
  'expires_at', expires_at, 'issued_by', ARGV[2])
if attributes ~= '' then redis.call('HSET', KEYS[1], 'attributes', attributes) end
if repeated ~= '' then redis.call('HSET', KEYS[1], 'repeated', repeated) end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
if fields[1] ~= ARGV[3] then redis.call('HSET', KEYS[2], 'fence', ARGV[3]) end -- begin writes it, unless it was lost
if fields[3] and fields[3] ~= '0' then -- fail writes these together
  redis.call('HSET', KEYS[2], 'failures', '0')
  redis.call('HDEL', KEYS[2], 'retry_at', 'refused_credential')
end
local refresh_at = ARGV[8] ~= '0' and digits(issued + ARGV[8])
if refresh_at then
  redis.call('HSET', KEYS[2], 'refresh_at', refresh_at)
elseif fields[2] then
  redis.call('HDEL', KEYS[2], 'refresh_at')
end
for i = 15, #ARGV do redis.call('ZREM', KEYS[3], ARGV[i]) end
-- The log is only informative: a refresh does not fail because of it.
local logged = redis.pcall('XADD', KEYS[5], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'refreshed', 'by', ARGV[2], 'asked_by', asked_by,
  'reason', ARGV[9], 'fence', ARGV[3], 'took_ms', ARGV[10], 'life_ms', ARGV[5],
  'repeated', repeated)
local by = cjson.encode(ARGV[2])
redis.call('PUBLISH', ARGV[1], '{"event":"refreshed","access_token":' .. cjson.encode(ARGV[4]) .. ',"generation":' .. ARGV[3] ..
  ',"issued_at":"' .. issued_at .. '","expires_at":"' .. expires_at .. '","issued_by":' .. by .. ',"ttl_ms":' .. ARGV[7] ..
  (refresh_at and ',"refresh_at":"' .. rfc3339(issued + ARGV[8]) .. '"' or '') ..
  (attributes ~= '' and ',"attributes":' .. attributes or '') .. (repeated ~= '' and ',"repeated":1' or '') ..
  ',"reason":' .. cjson.encode(ARGV[9]) .. ',"by":' .. by .. (change and ',"change":"' .. change .. '"' or '') .. '}')
return { 'stored', now_text, false, logged.err or false }
