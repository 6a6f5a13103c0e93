package redisstore

import (
	"flag"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
)

// The scripts must decide as package ledger does. Random histories run on both,
// with the same clock, and everything that can be seen is compared after each step:
// the answer, the error, the event and the State.
// Longer: go test ./redisstore -run AsTheLedgerDoes -diff.histories 5000
var diffHistories = flag.Uint64("diff.histories", 100, "compare the scripts with the ledger in so many histories")

const diffSteps = 50 // of a history

func TestScriptsDecideAsTheLedgerDoes(t *testing.T) {
	histories := *diffHistories
	if raceEnabled { // one goroutine compares: scripts/test runs all of them without the detector
		histories = min(histories, 10)
	} else {
		t.Parallel()
	}
	p := newPair(t, nil)
	for seed := range histories {
		if found := p.history(seed); found != "" {
			t.Fatal(found)
		}
	}
	if raceEnabled {
		return // the others are there to bring all of this about
	}
	p.check("begin: forced", "begin: rejected", "begin: missing", "begin: overdue", "begin: schedule",
		"begin: newer record", "begin: settled", "begin: some were overdue", "begin: a hundred were overdue", "begin: conflict",
		"begin: "+string(coordinator.LimitBudget), "begin: "+string(coordinator.LimitWindow), "begin: "+string(coordinator.LimitInterval),
		"begin: "+string(coordinator.LimitBackOff), "begin: "+string(coordinator.LimitLoop),
		"commit: stored", "commit: repeated", "commit: superseded",
		"fail: unknown", "fail: busy", "fail: later", "fail: refused", "fail: repeated", "fail: older than the token",
		"restore: put back", "restore: as new or newer", "restore: refused",
		"lock: got", "lock: taken", "extend: kept", "extend: lost", "state: unusable record")
}

// A rule that is changed in a script must be noticed: this shows that it can be.
func TestTheLedgerNoticesEveryChangedRule(t *testing.T) {
	if raceEnabled {
		t.Skip("slow with the race detector, and it has nothing to find here; scripts/test runs it without")
	}
	t.Parallel()
	for name, change := range map[string]struct{ script, from, to string }{
		"demanded refreshes do not leave the reserve": {"begin", "per_day - reserve", "per_day"},
		"every refresh leaves the reserve":            {"begin", "demanded and ARGV[10] or 0", "ARGV[10]"},
		"the interval binds every reason":             {"begin", "if demanded and demanded_at > 0", "if demanded_at > 0"},
		"an interval from the future binds":           {"begin", " and demanded_at <= now then", " then"},
		"the back-off binds a forced refresh":         {"begin", "reason ~= 'forced' and ", ""},
		"the back-off does not bind a report":         {"begin", "reason ~= 'forced' and ", "not demanded and "},
		"a back-off binds however long it lasts":      {"begin", " and retry_at <= now + retry_ahead", ""},
		"a refusal binds every credential":            {"begin", "if not other_credential then", "if true then"},
		"the brake binds every reason":                {"begin", "if demanded or pace == 0 then", "if pace == 0 then"},
		"a window counts however far ahead it ends":   {"begin", " or window_ends > now + window then", " then"},
		"a window counts though it has ended":         {"begin", "if window_ends <= now or", "if"},
		"a window begins with its first call":         {"begin", " - (now + (ARGV[15] or 0)) % window", ""},
		"a window is left when days are counted":      {"begin", "redis.call('HDEL', KEYS[2], 'window_ends', 'window_calls')", ""},
		"a commit does not count in the window":       {"commit", "if window_ends > now then", "if false then"},
		"a failure counts in a window that is over":   {"fail", "if window_ends > now then", "if window_ends > 0 then"},
		"the shortest limit is named":                 {"begin", "if ms > until_ms then", "if ms > now then"},
		"a throttled demand is not published":         {"begin", "redis.call('PUBLISH', ARGV[2]", "local _ = (ARGV[2]"},
		"what was seen orders, however far ahead":     {"begin", "credible(ARGV[4] + 0)", "ARGV[4] + 0"},
		"a conflict in spite of an open attempt":      {"begin", " and announced == 0", ""},
		"a settled attempt is refreshed for":          {"begin", "if generation > seen or settled then", "if generation > seen then"},
		"every attempt is settled":                    {"begin", "settled = settled and not overdue(open[i] + 0)", ""},
		"a lost attempt is settled":                   {"begin", " and last_fence >= overdue_seen", ""},
		"what nobody says was read is settled":        {"begin", " and overdue_seen > 0", ""},
		"a schedule is settled":                       {"begin", "reason == 'overdue' and ", "not demanded and "},
		"an older record is settled for":              {"begin", " and generation == seen and last_fence", " and last_fence"},
		"every overdue attempt is kept":               {"begin", "#settles < 100", "true"},
		"a deadline may lie however far ahead":        {"prelude", " or deadline > now + most_ahead", ""},
		"the lock alone is extended":                  {"extend", "if deadline and overdue(tonumber(deadline)) then return 0 end", ""},
		"a superseded attempt is not opened":          {"commit", "redis.pcall('ZADD', KEYS[3], now_text, ARGV[3])", "0"},
		"a fence commits however far ahead":           {"commit", " or credible(fence) == 0", ""},
		"a conflict whatever a repeat does":           {"begin", "(ARGV[16] or '') == '' and ", ""},
		"attributes outlive their token":              {"commit", "redis.call('HDEL', KEYS[1], 'attributes', 'repeated')", ""},
		"a restore forgets the attributes":            {"restore", "if ARGV[11] ~= '' then", "if false then"},
		"a commit leaves the failures":                {"commit", "redis.call('HSET', KEYS[2], 'failures', '0')", ""},
		"a commit settles only its own attempt":       {"commit", "for i = 15, #ARGV do redis.call('ZREM', KEYS[3], ARGV[i]) end", ""},
		"a failure binds though a token is newer":     {"fail", "local binding = generation < fence", "local binding = true"},
		"a failure is recorded twice":                 {"fail", "if failed_fence == fence or generation == fence then return 0 end", ""},
		"an unknown outcome settles":                  {"fail", "if kind == 'unknown' then", "if false then"},
		"a newer attempt does not forbid a restore":   {"restore", "last_fence > generation or ", ""},
		"a restore believes any life":                 {"restore", " or ttl > life_most", ""},
		"a restore keeps the lost store's clock":      {"restore", "if math.abs(gap) > margin + 300000 then", "if false then"},
		"a restore leaves its attempt open":           {"restore", "redis.call('ZREM', KEYS[3], ARGV[3])", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, replace(change.script, change.from, change.to))
			for seed := range *diffHistories {
				if found := p.history(seed); found != "" {
					t.Logf("%.200s", found)
					return
				}
			}
			t.Errorf("%d histories have noticed nothing", *diffHistories)
		})
	}
}
