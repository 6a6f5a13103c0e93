-- Put between the prelude and each script that changes what others read of an account.
--
-- The last two keys of these scripts are the log and the index of changes. One server
-- has them once for all accounts. In a cluster a script may touch keys of one slot only:
-- there the log is the account's own, and its key is given twice, because there is no
-- index.
--
-- The index is a sorted set: an account, and when it was changed last. A process that
-- has read it up to some score learns with one command which accounts have changed
-- since. So each score is above all before it, also when the clock is set back. The
-- member "" has the score at which the index was begun: it shows a reader that an index
-- was lost.
--
-- Constants that the scripts share with Go: log_most, log_own_most: about how many
-- entries the log of all accounts, and that of one account, keeps; old_log_seconds: for
-- how long the log stays that an older version has written for an account. All are texts.

local account = string.match(KEYS[1], '{(.*)}')
local indexed = KEYS[#KEYS] ~= KEYS[#KEYS - 1]
local log_cap = indexed and log_most or log_own_most

-- change_after returns the score of a change as a text, and whether the index must go
-- before it is written, because its highest score is further ahead of the clock than any
-- that was written. Without an index the score is nil. The reply is the highest member
-- with its score, if that is not below now_us: usually there is none.
local function change_after(reply, key)
  if not indexed then return nil, false end
  local head = got(reply, 'sorted-set', key)
  if not head or not head[2] then return now_us_text, false end
  if head[2] - now_us > fence_ahead then return now_us_text, true end
  return digits(head[2] + 1), false
end

-- rfc3339 formats an instant in milliseconds. A script asks for instants of one day or
-- two, and most lives are whole hours.
local date_of, date, minutes_of, minutes
local function rfc3339(ms)
  local day, hour = ms - ms % day_ms, ms - ms % 3600000
  if day ~= date_of then
    date_of, date = day, string.format('%04d-%02d-%02dT', civil(day / day_ms))
  end
  local rest = ms - hour
  if rest ~= minutes_of then
    minutes_of, minutes = rest, string.format(':%02d:%02d.%03dZ', (rest - rest % 60000) / 60000,
      (rest % 60000 - rest % 1000) / 1000, rest % 1000)
  end
  return date .. string.format('%02d', (hour - day) / 3600000) .. minutes
end
