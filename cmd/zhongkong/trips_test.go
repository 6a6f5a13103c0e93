package main

import (
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// What a person or a start waits for, in round trips to Redis: a dial, what is read,
// the lock, begin, commit, unlock. The server knows no script before.
func TestRoundTripsToRedis(t *testing.T) {
	command := func(args ...string) func(b *bench, trips *redistest.Trips) int {
		return func(b *bench, trips *redistest.Trips) int {
			b.must(args...)
			return trips.Last(nil)
		}
	}
	for _, test := range []struct {
		name   string
		stored bool // a token is there
		want   int
		run    func(b *bench, trips *redistest.Trips) int
	}{
		{"show of a token that is there", true, 2, command("show")},
		{"show that fetches one", false, 6, command("show")},
		{"refresh", true, 6, command("refresh")},
		{"serve until it is ready", false, 6, func(b *bench, trips *redistest.Trips) int {
			b.serve().ready()
			return trips.Last(isCommit)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			redistest.CountTrips(t, sharedRedis, test.want, func(trips *redistest.Trips) int {
				b := newBench(t)
				if test.stored {
					b.must("show")
				}
				sharedRedis.MustDo(t, "SCRIPT", "FLUSH")
				return test.run(b.with("ZHONGKONG_REDIS", trips.URL()), trips)
			})
		})
	}
}

// isCommit reports whether a command is the script begin or, after it, commit.
func isCommit(command []string) bool {
	return strings.HasPrefix(strings.ToLower(command[0]), "eval") && strings.HasSuffix(command[3], ":token")
}
