-- Announces an attempt before the source is called.
--
-- KEYS  1 token, 2 state, 3 attempts, 4 the day's calls, 5 own log, 6 log, 7 changes
-- ARGV  1 channel for begun, 2 channel for throttled, 3 by, 4 seen generation,
--       5 reason, 6 "demanded" or "", 7 the attempt's life in ms,
--       8 credential, 9 calls per day, 10 reserve, 11 least interval in ms,
--       12 pace in ms (0: none), 13 the caller who demanded it, or "",
--       14 the length of a window of calls in ms (0: the day), 15 how long before 1970
--       one began, in ms, 16 what the call does to the token before (coordinator.Repeat;
--       "": it kills it), 17 the newest attempt that the caller takes for overdue (0: it
--       does not say). Those from 13 on may be left out at the end, if they are 0 or "".
-- Returns one of
--   { "day", now, YYYYMMDD }                       KEYS[4] is not of this day; nothing was done
--   { "current", now, record }                     newer than seen, or nothing is overdue any more;
--                                                  nothing was recorded
--   { "throttled", now, limit, retry in ms }       nothing was recorded
--   { "begun", now, fence, calls in the window, failures in a row, conflict 0 or 1, overdue fences }
--
-- Atomic, because the check of the generation, of what is overdue and of the limits, the new
-- fence and the list of overdue attempts must be of one moment: commit settles exactly that list.
-- Not safe to repeat: a repetition is one more attempt, which costs one call too
-- many and nothing else.

if wrong_day then return wrong_day end

local seen, reason, demanded = credible(ARGV[4] + 0), ARGV[5], ARGV[6] ~= ''
local per_day, reserve, pace, window = ARGV[9] + 0, demanded and ARGV[10] or 0, ARGV[12] + 0, (ARGV[14] or 0) + 0
local asked_by, overdue_seen = ARGV[13] or '', (ARGV[17] or 0) + 0

local stored = got(redis.pcall('HMGET', KEYS[1], 'generation'), 'hash', KEYS[1]) or {}
-- Usually this, the last fence and what the caller has seen are one text, and it is
-- converted once.
local generation = stored[1] == ARGV[4] and seen or credible(stored[1] and natural(stored[1]) or 0)
local fields = got(redis.pcall('HMGET', KEYS[2], 'fence', 'failures', 'retry_at', 'demanded_at', 'last_error_at',
  'paced_until', 'conflicts', 'window_ends', 'window_calls'), 'hash', KEYS[2]) or {}
local last_fence = generation > 0 and fields[1] == stored[1] and generation or credible(whole(KEYS[2], 'fence', fields[1]))
local failures = whole(KEYS[2], 'failures', fields[2])
if failures > failures_most then failures = 0 end
local retry_at = whole(KEYS[2], 'retry_at', fields[3])
local demanded_at = whole(KEYS[2], 'demanded_at', fields[4])
local failed_at = whole(KEYS[2], 'last_error_at', fields[5])
local paced_until = whole(KEYS[2], 'paced_until', fields[6])
local conflicts = whole(KEYS[2], 'conflicts', fields[7])
local window_ends, window_calls = whole(KEYS[2], 'window_ends', fields[8]), whole(KEYS[2], 'window_calls', fields[9])
local open = got(redis.pcall('ZRANGE', KEYS[3], '0', attempts_most, 'WITHSCORES'), 'sorted-set', KEYS[3]) or {}
local calls = whole(KEYS[4], '-', got(redis.pcall('GET', KEYS[4]), 'string', KEYS[4]))
local change, anew = change_after(indexed and redis.pcall('ZRANGE', KEYS[7], '+inf', now_us_text, 'BYSCORE', 'REV',
  'LIMIT', '0', '1', 'WITHSCORES'), KEYS[7])
if fault then return redis.error_reply(fault) end

-- An attempt that the caller takes for overdue may be settled by now, or not be overdue yet.
-- One that is newer than every fence was lost here, and nobody knows how it ended.
local settled = reason == 'overdue' and overdue_seen > 0 and generation > 0 and generation == seen and last_fence >= overdue_seen
if settled then
  for i = 2, #open, 2 do settled = settled and not overdue(open[i] + 0) end
end
if generation > seen or settled then
  local token = read_token()
  token[9] = redis.call('HMGET', KEYS[2], 'refresh_at')[1]
  return { 'current', now_text, token }
end

-- The limit that applies longest is the one that is reported.
local limit, until_ms = nil, now
local function holds(name, ms)
  if ms > until_ms then limit, until_ms = name, ms end
end

local budget = daily_budget
if window == 0 then
  window_ends, window_calls = tomorrow_ms, calls
else
  if window ~= day_ms then budget = call_budget end
  -- A window that ends further ahead than it can was counted before the clock was set
  -- back, or is of other limits.
  if window_ends <= now or window_ends > now + window then
    window_ends, window_calls = now + window - (now + (ARGV[15] or 0)) % window, 0
  end
end
if per_day > 0 and window_calls >= per_day - reserve then
  holds(budget, window_ends)
end
-- An instant in the future means that the clock was set back. It is ignored;
-- otherwise it would apply for as long as the clock was wrong.
if demanded and demanded_at > 0 and demanded_at <= now then
  holds(minimum_interval, demanded_at + ARGV[11])
end
if reason ~= 'forced' and failures > 0 and failed_at <= now + 1000 and retry_at <= now + retry_ahead then
  local refused = redis.call('HMGET', KEYS[2], 'last_error_kind', 'refused_credential')
  local other_credential = refused[1] == 'refused' and (refused[2] or '') ~= ARGV[8]
  if not other_credential then holds(back_off, retry_at) end
end
-- The brake on a loop of refreshes that no caller demanded (the generic cell rate
-- algorithm): each moves paced_until on by the pace, and it may be a burst ahead.
if demanded or pace == 0 then
  paced_until = nil
else
  if paced_until < now or paced_until > now + pace_burst * pace then paced_until = now end
  holds(loop_brake, paced_until - (pace_burst - 1) * pace)
end

if limit then
  if demanded then
    -- For the reader that reported the token or asked for a new one: it is told of
    -- the refusal only here.
    redis.call('PUBLISH', ARGV[2], '{"event":"throttled","limit":"' .. limit .. '","reason":' .. cjson.encode(reason) ..
      ',"retry_ms":' .. digits(until_ms - now) .. ',"by":' .. cjson.encode(ARGV[3]) .. '}')
  end
  return { 'throttled', now_text, limit, digits(until_ms - now) }
end

-- The clock in microseconds keeps fences increasing if the last one was lost.
local fence = math.max(last_fence + 1, generation + 1, seen + 1, now_us)
local name = fence == now_us and now_us_text or digits(fence)
-- One overdue attempt has the same effect as a thousand, so the others are removed:
-- a source that never answers must not make the set grow without bound.
local settles, useless, announced = {}, {}, 0
for i = 1, #open, 2 do
  if not natural(open[i]) then
    useless[#useless + 1] = open[i] -- not a fence, so no commit will settle it
  else
    announced = announced + 1
    if overdue(open[i + 1] + 0) then
      local to = #settles < 100 and settles or useless
      to[#to + 1] = open[i]
    end
  end
end
-- A conflict: no call of the fleet can have invalidated the token, because each of
-- them is either settled, and its token is the one that was reported, or still open.
local conflict = (ARGV[16] or '') == '' and reason == 'rejected' and generation > 0 and generation == seen and announced == 0

if #open > 2 * attempts_most then
  redis.call('DEL', KEYS[3])
else
  for i = 1, #useless do redis.call('ZREM', KEYS[3], useless[i]) end
end
redis.call('ZADD', KEYS[3], digits(now + ARGV[7]), name)
if demanded then
  redis.call('HSET', KEYS[2], 'fence', name, 'demanded_at', now_text)
elseif paced_until then
  redis.call('HSET', KEYS[2], 'fence', name, 'paced_until', digits(paced_until + pace))
else
  redis.call('HSET', KEYS[2], 'fence', name)
end
if calls > 0 then
  redis.call('INCRBY', KEYS[4], '1')
else
  redis.call('SET', KEYS[4], '1', 'EX', calls_seconds)
  -- The version before this one kept a log for each account. History still shows it.
  if indexed and redis.call('PTTL', KEYS[5]) == -1 then redis.call('EXPIRE', KEYS[5], old_log_seconds) end
end
window_calls = window_calls + 1
if window > 0 then
  redis.call('HSET', KEYS[2], 'window_ends', digits(window_ends), 'window_calls', digits(window_calls))
elseif fields[8] or fields[9] then
  redis.call('HDEL', KEYS[2], 'window_ends', 'window_calls')
end
if reason == 'rejected' then
  redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'reported', 'by', ARGV[3], 'asked_by', asked_by, 'reason', reason,
    'fence', name, 'generation', digits(seen))
end
if conflict then
  redis.call('HSET', KEYS[2], 'conflicts', digits(math.min(conflicts + 1, 1000000)))
  redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', log_cap, '*', 'account', account, 'event', 'conflict', 'by', ARGV[3], 'asked_by', asked_by, 'reason', reason,
    'fence', name, 'generation', digits(seen))
end
if anew then redis.call('DEL', KEYS[7]) end
if change and redis.call('ZADD', KEYS[7], change, account) == 1 then
  redis.call('ZADD', KEYS[7], 'NX', digits(now_us - 1), '')
end
redis.call('PUBLISH', ARGV[1], '{"event":"begun","fence":' .. name .. ',"by":' .. cjson.encode(ARGV[3]) ..
  ',"reason":' .. cjson.encode(reason) .. ',"deadline_ms":' .. ARGV[7] .. (change and ',"change":"' .. change .. '"' or '') .. '}')
return { 'begun', now_text, name, window_calls, failures, conflict and 1 or 0, settles }
