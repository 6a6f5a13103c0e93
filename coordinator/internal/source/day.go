package source

import "time"

// chinaStandardTime is where the day of WeChat and WeCom begins and ends.
func chinaStandardTime() *time.Location { return time.FixedZone("UTC+8", 8*60*60) }

// UntilQuotaReset returns the time from now until the daily quotas are reset, at the next
// midnight, UTC+8. Just after midnight, the counters may not have been reset yet; then it
// returns a few minutes instead of a day.
func UntilQuotaReset(now time.Time) time.Duration {
	const settle = 10 * time.Minute
	local := now.In(chinaStandardTime())
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, local.Location())
	if local.Sub(midnight) < settle {
		return settle
	}
	return midnight.AddDate(0, 0, 1).Sub(local)
}
