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

-- change_after returns the score of a change, and whether the index must be begun anew:
-- it is not there, or its highest score is further ahead of the clock than any that was
-- written. Without an index the score is nil. The reply is its highest member with its
-- score.
local function change_after(reply, key)
  if not indexed then return nil, false end
  local head = got(reply, 'sorted-set', key)
  local newest = head and tonumber(head[2])
  if not newest or newest > now_us + fence_ahead then return digits(now_us + 1), true end
  return digits(math.max(newest + 1, now_us)), false
end

-- rfc3339 formats an instant in milliseconds.
local function rfc3339(ms)
  local seconds = floor(ms / 1000)
  local days = floor(seconds / 86400)
  local rest = seconds - days * 86400
  local year, month, day = civil(days)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day,
    floor(rest / 3600), floor(rest / 60) % 60, rest % 60, ms - seconds * 1000)
end
