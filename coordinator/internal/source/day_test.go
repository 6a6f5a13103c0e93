package source

import (
	"testing"
	"time"
)

func TestTheDailyQuotaIsWholeAgainAtMidnightInChina(t *testing.T) {
	at := func(clock string) time.Time {
		now, err := time.ParseInLocation(time.DateTime, "2026-03-01 "+clock, chinaStandardTime())
		if err != nil {
			t.Fatal(err)
		}
		return now.UTC()
	}
	for clock, want := range map[string]time.Duration{
		"23:59:59": time.Second,
		"12:00:00": 12 * time.Hour,
		"00:10:00": 24*time.Hour - 10*time.Minute,
		"00:09:59": 10 * time.Minute, // the counters may lag
		"00:00:00": 10 * time.Minute,
	} {
		if got := UntilQuotaReset(at(clock)); got != want {
			t.Errorf("at %s: %v, want %v", clock, got, want)
		}
	}
}
