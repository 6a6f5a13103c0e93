package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// What a person or a start waits for, in round trips to Redis: a dial, what is read,
// the lock, begin, commit, unlock. The server knows no script before.
func TestRoundTripsToRedis(t *testing.T) {
	command := func(args ...string) func(b *bench, sent *redistest.Trips) int {
		return func(b *bench, sent *redistest.Trips) int {
			b.must(args...)
			return sent.Last(func([]string) bool { return true })
		}
	}
	for _, test := range []struct {
		name   string
		stored bool // a token is there
		want   int
		run    func(b *bench, sent *redistest.Trips) int
	}{
		{"show of a token that is there", true, 2, command("show")},
		{"show that fetches one", false, 6, command("show")},
		{"refresh", true, 6, command("refresh")},
		{"serve until it is ready", false, 6, func(b *bench, sent *redistest.Trips) int {
			b.serve().ready()
			return sent.Last(isCommit)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var counts []int
			for range 5 { // a busy machine makes it appear to be more, never fewer
				b := newBench(t)
				if test.stored {
					b.must("show")
				}
				sharedRedis.MustDo(t, "SCRIPT", "FLUSH")
				sent := redistest.StartTrips(t, sharedRedis)
				count := test.run(b.with("ZHONGKONG_REDIS", sent.URL()), sent)
				if count == test.want {
					return
				}
				counts = append(counts, count)
			}
			t.Errorf("%d round trips at least, of %d; want %d", slices.Min(counts), counts, test.want)
		})
	}
}

// isCommit reports whether a command is the script begin or, after it, commit.
func isCommit(command []string) bool {
	return strings.HasPrefix(strings.ToLower(command[0]), "eval") && strings.HasSuffix(command[3], ":token")
}
