package logging_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
)

// lines is where a log goes.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// with counts the lines that hold the words.
func (l *lines) with(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

func TestAFloodOfOneKindIsAFewLinesAMinuteAndACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		log := slog.New(logging.NewLimit(slog.NewTextHandler(&out, nil), "caller refused"))
		for range 10 {
			for i := range 600 {
				log.With("part", i%3).Warn("caller refused", "path", "/", "why", fmt.Sprintf("too many tries; again in %ds", i))
				log.Warn("something else")
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(time.Minute)
		}
		refused, counts := out.with(`msg="caller refused" `), out.with("lines=580 within_seconds=60")
		if refused != 200 || counts != 10 {
			t.Errorf("%d lines and %d counts of 580, want 200 and 10", refused, counts)
		}
		if n := out.with("something else"); n != 6000 {
			t.Errorf("%d of 6000 other lines", n)
		}
	})
}

func TestAFloodOfOneKindHidesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		log := slog.New(logging.NewLimit(slog.NewTextHandler(&out, nil), "caller refused"))
		for range 1000 {
			log.Warn("caller refused", "why", "no credentials")
		}
		log.Warn("caller refused", "why", "wrong name or password")
		if n := out.with("wrong name"); n != 1 {
			t.Errorf("%d lines of the other kind, want 1", n)
		}
		time.Sleep(2 * time.Minute)
		log.Warn("caller refused", "why", "no credentials")
		if n := out.with(`msg="caller refused" why="no credentials"`); n != 21 {
			t.Errorf("%d lines, want 20 of the flood and 1 after it", n)
		}
		if n := out.with(`why="no credentials" lines=980`); n != 1 {
			t.Errorf("%d counts of the lines left out, want 1", n)
		}
	})
}

func TestForgedPushesToOneAccountHideNoneToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		log := slog.New(logging.NewLimit(slog.NewTextHandler(&out, nil), logging.PushRefused))
		for range 300 {
			log.Warn(logging.PushRefused, "account", "wxa", "why", "forged")
		}
		log.Warn(logging.PushRefused, "account", "wxb", "why", "forged")
		time.Sleep(2 * time.Minute)
		if a, b := out.with("account=wxa why=forged"), out.with("account=wxb why=forged"); a != 21 || b != 1 {
			t.Errorf("%d lines of the flood and %d of the other account, want 20 with a count, and 1", a, b)
		}
		if n := out.with("account=wxa why=forged lines=280"); n != 1 {
			t.Errorf("%d counts of the lines left out, want 1", n)
		}
	})
}
