package redisstore

import (
	"strconv"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// The scripts write dates without any library; the calendar is theirs.
func TestDatesOfTheScriptsAreGos(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	defer client.Close()
	script := newScript(source("prelude"), source("change"), `
		local out = {}
		for i, ms in ipairs(ARGV) do out[i] = rfc3339(tonumber(ms)) end
		return out`)
	var instants []any
	var want []string
	for at := time.Date(1999, 12, 25, 23, 59, 59, 7e6, time.UTC); at.Year() < 2101; at = at.AddDate(0, 0, 1) {
		instants = append(instants, at.UnixMilli())
		want = append(want, at.Format("2006-01-02T15:04:05.000Z"))
	}
	got, err := script.Run(t.Context(), client, []string{"{a}", "log", "changes"}, instants...).StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("rfc3339(%v) = %s, want %s", instants[i], got[i], want[i])
		}
	}
}

func TestScriptsTellTheIssuersDay(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	defer client.Close()
	script := newScript(source("prelude"), `
		return { wrong_day and wrong_day[3] or 'this one', digits(tomorrow_ms) }`)
	now := time.Now().In(time.FixedZone("UTC+8", 8*3600))
	y, m, d := now.Date()
	today, tomorrow := now.Format("20060102"), time.Date(y, m, d+1, 0, 0, 0, 0, now.Location())
	for key, want := range map[string]string{
		"calls:" + today: "this one", "calls:" + tomorrow.Format("20060102"): today, "calls:": today, "": today,
	} {
		got, err := script.Run(t.Context(), client, []string{"1", "2", "3", key}).StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		if got[0] != want {
			t.Errorf("with the key %q the day is %s, want %s", key, got[0], want)
		}
		if want := strconv.FormatInt(tomorrow.UnixMilli(), 10); got[1] != want {
			t.Errorf("the day ends at %s, want %s", got[1], want)
		}
	}
}
