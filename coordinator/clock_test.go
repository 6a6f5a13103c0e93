package coordinator_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Locks, deadlines, back-offs and lives are kept by the store's clock. When it is
// set back they would last longer by the jump; nobody may be kept waiting for it.
func TestAStoreWhoseClockGoesBackKeepsNobodyFromRefreshing(t *testing.T) {
	begin := coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: 3 * time.Second, Limits: coordinator.DefaultLimits()}
	for name, leave := range map[string]func(t *testing.T, dead coordinator.Store){
		"a lock": func(t *testing.T, dead coordinator.Store) {
			if _, err := dead.Lock(t.Context(), account, 3*time.Second); err != nil {
				t.Fatal(err)
			}
		},
		"an open attempt": func(t *testing.T, dead coordinator.Store) {
			if _, err := dead.Begin(t.Context(), account, begin); err != nil {
				t.Fatal(err)
			}
		},
		"both": func(t *testing.T, dead coordinator.Store) {
			if _, err := dead.Lock(t.Context(), account, 3*time.Second); err != nil {
				t.Fatal(err)
			}
			if _, err := dead.Begin(t.Context(), account, begin); err != nil {
				t.Fatal(err)
			}
		},
		"a back-off": func(t *testing.T, dead coordinator.Store) {
			attempt, err := dead.Begin(t.Context(), account, begin)
			if err != nil {
				t.Fatal(err)
			}
			if err := dead.Fail(t.Context(), account, coordinator.FailRequest{
				Attempt: attempt, Reason: begin.Reason, RetryIn: 5 * time.Minute, Calls: 1,
				Failure: coordinator.Failure{Kind: coordinator.FailedRefused, Code: "40125", Message: "invalid appsecret"},
			}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				leave(t, f.store.Instance("dead"))
				f.store.SetSkew(-2 * time.Hour)
				p := f.refresher()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if _, err := p.Token(ctx); err != nil {
					t.Errorf("Token() = %v", err)
				}
				synctest.Wait()
				if s := f.store.Peek(account); len(s.Open) != 0 {
					t.Errorf("%d attempts are still open", len(s.Open))
				}
			})
		})
	}
}

// How old such a token is nobody knows any more, only that it has more of its
// life left than there ever was.
func TestATokenThatIsOlderThanTheStoresClockIsReplacedAndNotServedLongerThanALife(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Life = 2 * time.Hour
		first := f.refresher()
		old, err := first.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first.stop()
		time.Sleep(30 * time.Minute)
		f.store.SetSkew(-5 * time.Hour)

		reader := f.reader()
		if _, err := reader.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		record, err := reader.Current(t.Context())
		if most := 2*time.Hour - coordinator.Margin(2*time.Hour); err != nil || record.TTL > most {
			t.Errorf("a reader has the token for %v more (%v), want at most %v", record.TTL, err, most)
		}
		second := f.refresher()
		time.Sleep(5 * time.Second)
		token, err := second.Token(t.Context())
		if err != nil || token.Equal(old) {
			t.Errorf("a process that comes now has the old token still (%v)", err)
		}
		if got, _ := reader.Token(t.Context()); !got.Equal(token) {
			t.Error("the reader has not followed")
		}
		f.wantCalls(2)
	})
}

// The servers of one store differ by milliseconds, and NTP steps by as much: that
// is no other clock.
func TestASmallStepOfTheStoresClockLeavesALongLockToItsHolder(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Latency = 5 * time.Second
		cfg := f.config()
		cfg.LockTTL = time.Minute
		first := f.start(cfg, f.source)
		time.Sleep(time.Second)
		f.store.SetSkew(-200 * time.Millisecond)
		second := f.start(cfg, f.source)
		for _, p := range []*process{first, second} {
			if _, err := p.Token(t.Context()); err != nil {
				t.Error(err)
			}
		}
		f.wantCalls(1)
	})
}

// Fences are of the store's clock: what is handed out from then on is older by number.
func TestWhoWaitsForANewerTokenGetsOneThoughTheStoresClockWentBackByDays(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		p, reader := f.refresher(), f.reader()
		f.wantCurrent(p, reader)
		before, _ := p.Peek()
		watches := []<-chan coordinator.Snapshot{p.Watch(t.Context()), reader.Watch(t.Context())}
		for _, w := range watches {
			<-w
		}
		f.store.SetSkew(-72 * time.Hour)
		time.Sleep(5 * time.Minute)
		f.wantCurrent(p, reader)
		if s, _ := p.Peek(); s.Generation >= before.Generation {
			t.Fatalf("generation %d was not given up: %d is served", before.Generation, s.Generation)
		}
		for i, w := range watches {
			select {
			case s := <-w:
				if !s.Token.Equal(f.source.Current()) {
					t.Errorf("watch %d has generation %d, which is not the current one", i, s.Generation)
				}
			default:
				t.Errorf("watch %d has received nothing", i)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s, err := reader.Next(ctx, before.Generation); err != nil || !s.Token.Equal(f.source.Current()) {
			t.Errorf("Next() after the generation of before = %d, %v", s.Generation, err)
		}
	})
}

func TestADemandOfBeforeTheStoresClockWentBackEndsWithTheNextToken(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.token(f.idle(f.config(), f.source), time.Second)
		reader := f.reader()
		before := f.token(reader, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
		defer cancel()
		answer := make(chan coordinator.Snapshot, 1)
		go func() {
			defer close(answer)
			if s, err := reader.Refresh(ctx); err == nil {
				answer <- s
			}
		}()
		synctest.Wait()
		f.store.SetSkew(-72 * time.Hour)
		time.Sleep(5 * time.Minute)
		p := f.refresher()
		f.token(p, time.Minute)
		time.Sleep(time.Minute)
		synctest.Wait()
		select {
		case s, ok := <-answer:
			if !ok || !s.Token.Equal(f.source.Current()) || s.Token.Reveal() == before {
				t.Errorf("Refresh() = generation %d, %v", s.Generation, ok)
			}
		default:
			t.Error("Refresh() waits on")
		}
		f.wantCallsAfter(10*time.Minute, 2)
	})
}
