package logging_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
)

// linesWith counts the lines of a log that hold the words.
func linesWith(log *logtest.Buffer, words string) int {
	n := 0
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

func TestAFloodOfOneKindIsAFewLinesAMinuteAndACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logtest.Buffer
		log := slog.New(logging.NewLimit(slog.NewTextHandler(&out, nil), "caller refused"))
		for range 10 {
			for i := range 600 {
				log.With("part", i%3).Warn("caller refused", "path", "/", "why", fmt.Sprintf("too many tries; again in %ds", i))
				log.Warn("something else")
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(time.Minute)
		}
		refused, counts := linesWith(&out, `msg="caller refused" `), linesWith(&out, "lines=580 within_seconds=60")
		if refused != 200 || counts != 10 {
			t.Errorf("%d lines and %d counts of 580, want 200 and 10", refused, counts)
		}
		if n := linesWith(&out, "something else"); n != 6000 {
			t.Errorf("%d of 6000 other lines", n)
		}
	})
}

func TestAFloodOfOneKindHidesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logtest.Buffer
		log := slog.New(logging.NewLimit(slog.NewTextHandler(&out, nil), "caller refused"))
		for range 1000 {
			log.Warn("caller refused", "why", "no credentials")
		}
		log.Warn("caller refused", "why", "wrong name or password")
		if n := linesWith(&out, "wrong name"); n != 1 {
			t.Errorf("%d lines of the other kind, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		log.Warn("caller refused", "why", "no credentials")
		if n := linesWith(&out, `msg="caller refused" why="no credentials"`); n != 21 {
			t.Errorf("%d lines, want 20 of the flood and 1 after it", n)
		}
		if n := linesWith(&out, `why="no credentials" lines=980`); n != 1 {
			t.Errorf("%d counts of the lines left out, want 1", n)
		}
	})
}

func TestForgedPushesToOneAccountHideNoneToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logtest.Buffer
		log := slog.New(logging.NewLimit(slog.NewTextHandler(&out, nil), logging.PushRefused))
		for range 300 {
			log.Warn(logging.PushRefused, "account", "wxa", "why", "forged")
		}
		log.Warn(logging.PushRefused, "account", "wxb", "why", "forged")
		time.Sleep(2 * time.Minute)
		if a, b := linesWith(&out, "account=wxa why=forged"), linesWith(&out, "account=wxb why=forged"); a != 21 || b != 1 {
			t.Errorf("%d lines of the flood and %d of the other account, want 20 with a count, and 1", a, b)
		}
		if n := linesWith(&out, "account=wxa why=forged lines=280"); n != 1 {
			t.Errorf("%d counts of the lines left out, want 1", n)
		}
	})
}
