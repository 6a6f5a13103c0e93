package coordinator_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// ticket is an issuer that repeats its token, and says each time that it lives for two
// hours more.
func (f *fleet) ticket() *coordinatortest.Source {
	f.source = &coordinatortest.Source{
		Latency: 50 * time.Millisecond, Overlap: -1, States: 2 * time.Hour,
		Describes: coordinator.Description{
			Repeat: coordinator.RepeatSame, RefreshEvery: 10 * time.Minute, Limits: coordinator.Limits{MinInterval: time.Minute},
		},
	}
	return f.source
}

func TestATokenThatItsIssuerReplacesIsServedUntilTheNextQuestion(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.ticket()
		processes := []*process{f.start(f.longConfig(), f.source), f.start(f.longConfig(), f.source), f.start(f.longConfig(), nil)}
		f.token(processes[0], time.Second)
		rng := rand.New(rand.NewPCG(1, 1))
		dead, longest := make([]time.Duration, len(processes)), time.Duration(0)
		for end := time.Now().Add(30 * 24 * time.Hour); time.Now().Before(end); {
			// Often early, seldom late: the stated life is two hours.
			if rng.IntN(80) == 0 {
				f.source.Replace()
			}
			time.Sleep(time.Minute)
			for i, p := range processes {
				s, ok := p.Peek()
				switch {
				case !ok:
					t.Fatal("no token is served though the issuer answers")
				case f.source.Valid(s.Token):
					dead[i] = 0
				default:
					dead[i] += time.Minute
					longest = max(longest, dead[i])
				}
			}
		}
		if longest > 11*time.Minute {
			t.Errorf("a dead token was served for %v, want at most the ten minutes between two questions", longest)
		}
		if calls := len(f.source.Calls()); calls > 30*24*6+200 {
			t.Errorf("%d calls in 30 days, want one each ten minutes", calls)
		}
	})
}

func TestALifeCountsFromWhenTheTokenWasSeenFirstByAnyProcess(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.ticket().Life = 1000 * time.Hour // much longer than it says
		first := f.start(f.longConfig(), f.source)
		f.token(first, time.Second)
		issued := first.Status().Record.IssuedAt
		for hour := range 5 { // beyond the life that was stated
			p := f.start(f.longConfig(), f.source)
			f.token(p, 2*time.Second)
			first.stop()
			first = p
			time.Sleep(time.Hour)
			r := p.Status().Record
			if off := r.IssuedAt.Sub(issued).Abs(); !r.Usable() || off > time.Second {
				t.Fatalf("after %dh the record is %+v, want one of %v", hour+1, r, issued)
			}
			if left := r.TTL; left > 2*time.Hour-r.Age() && left > 11*time.Minute {
				t.Errorf("after %dh the token is to be served for %v more", hour+1, left)
			}
		}
	})
}

// The issuer states the whole life each time, and its source asks to be left alone for as
// long, also if a report has it asked early.
func TestARepeatedTokenIsAskedForWhenItsKnownEndHasCome(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.ticket().Describes.RefreshEvery = 2 * time.Hour
		f.source.RefreshIn = 2*time.Hour + time.Second
		p := f.refresher()
		f.token(p, time.Second)
		for range 3 {
			time.Sleep(25 * time.Minute)
			if _, err := p.Invalidate(t.Context(), f.source.Current()); err != nil {
				t.Fatal(err)
			}
		}
		var dead time.Duration
		for end := time.Now().Add(2 * time.Hour); time.Now().Before(end); time.Sleep(time.Second) {
			s, ok := p.Peek()
			switch {
			case !ok:
				t.Fatal("no token is served though the issuer answers")
			case !f.source.Valid(s.Token):
				dead += time.Second
			}
		}
		if dead > 10*time.Second {
			t.Errorf("a dead token was served for %v, want some seconds at most", dead)
		}
		f.wantCalls(1 + 3 + 1 + 1)
	})
}

func TestAReportThatTheIssuerAnswersWithTheSameTokenLeadsToNoLoop(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.ticket()
		cfg, log := f.logged()
		p, q := f.start(cfg, f.source), f.start(cfg, f.source)
		bad, err := p.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		report := func(callers int) (tokens, throttled int) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range callers {
				wg.Go(func() {
					start := time.Now()
					s, err := []*process{p, q}[i%2].Invalidate(t.Context(), bad)
					mu.Lock()
					defer mu.Unlock()
					var limit *coordinator.ThrottledError
					switch {
					case err == nil && s.Token.Equal(bad):
						tokens++
					case errors.As(err, &limit) && limit.Limit == coordinator.LimitInterval:
						throttled++
					default:
						t.Errorf("Invalidate() = %v, %v", s, err)
					}
					if took := time.Since(start); took > 2*time.Second {
						t.Errorf("a report was answered after %v", took)
					}
				})
			}
			wg.Wait()
			return tokens, throttled
		}
		if tokens, _ := report(400); tokens != 400 {
			t.Errorf("%d callers got the same token, want all", tokens)
		}
		f.wantCalls(2)
		synctest.Wait()
		for _, s := range []coordinator.Status{p.Status(), q.Status()} {
			if !s.Record.Repeated || s.Conflicts != 0 || s.Record.Age() < 5*time.Minute-time.Second {
				t.Errorf("the status is %+v, want it to say that the token was repeated", s)
			}
		}
		for range 10 {
			if _, throttled := report(40); throttled != 40 {
				t.Errorf("%d reports were throttled, want all", throttled)
			}
			time.Sleep(time.Second)
		}
		f.wantCalls(2)
		if n := log.count("WARN", "the issuer repeated the token"); n != 1 {
			t.Errorf("the log says it %d times, want once", n)
		}
		time.Sleep(time.Minute)
		good := f.source.Replace()
		if s, err := q.Invalidate(t.Context(), bad); err != nil || !s.Token.Equal(good) || s.Repeated {
			t.Errorf("Invalidate() = %v, %v, want the new token", s, err)
		}
	})
}

func TestAForgedMessageHoldsDemandsForTheIntervalAtMost(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.ticket().Latency = 2 * time.Second
		p := f.refresher()
		f.token(p, 3*time.Second)
		time.Sleep(time.Minute)
		ended := make(chan error)
		go func() { _, err := p.Refresh(t.Context()); ended <- err }()
		time.Sleep(time.Second)
		f.store.Publish(coordinator.Event{
			Kind: coordinator.EventThrottled, Account: account, Reason: coordinator.ReasonForced, Limit: coordinator.LimitInterval, RetryIn: 1e6 * time.Hour,
		})
		var limit *coordinator.ThrottledError
		if err := <-ended; !errors.As(err, &limit) {
			t.Errorf("Refresh() = %v, want what the message says", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := p.Refresh(t.Context()); err != nil {
			t.Errorf("Refresh() = %v", err)
		}
	})
}

func TestAnOverdueAttemptMattersOnlyIfItMayHaveKilledTheToken(t *testing.T) {
	for repeat, want := range map[coordinator.Repeat]int{
		coordinator.RepeatKills: 2, coordinator.RepeatSame: 1, coordinator.RepeatKeeps: 1,
	} {
		t.Run("repeat "+string(repeat), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fleet) {
				f.source.Describes.Repeat = repeat
				p := f.refresher()
				f.token(p, time.Second)
				if _, err := f.store.Begin(t.Context(), account, coordinator.BeginRequest{
					Seen: p.Status().Record.Generation, Reason: coordinator.ReasonSchedule, TTL: 3 * time.Second,
				}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute)
				f.wantCalls(want)
				bad := f.source.Current()
				if _, err := p.Invalidate(t.Context(), bad); err != nil {
					t.Fatal(err)
				}
				f.source.IssueOutside()
				time.Sleep(10 * time.Minute)
				s, err := p.Current(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := p.Invalidate(t.Context(), s.Token); err != nil {
					t.Fatal(err)
				}
				conflicts := 0
				if repeat == coordinator.RepeatKills {
					conflicts = 2
				}
				if got := f.store.Peek(account).Conflicts; got != conflicts {
					t.Errorf("%d conflicts are counted, want %d", got, conflicts)
				}
			})
		})
	}
}

func TestWhatASourceSaysOfItselfHoldsWhereTheConfigurationIsSilent(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.source.Describes = coordinator.Description{
			Repeat: coordinator.RepeatKeeps, RefreshEvery: 10 * time.Minute,
			Limits: coordinator.Limits{PerDay: 100, Window: time.Hour, MinInterval: 30 * time.Second},
		}
		p := f.refresher()
		want := coordinator.Limits{PerDay: 100, Reserve: 10, Window: time.Hour, MinInterval: 30 * time.Second}
		if got := p.Status().Limits; got != want {
			t.Errorf("Limits = %+v, want the source's, with a tenth as the reserve: %+v", got, want)
		}
		f.token(p, time.Second)
		cfg := f.config()
		cfg.Limits.PerDay, cfg.RefreshEvery = 300, 20*time.Minute
		q := f.start(cfg, f.source)
		want.PerDay = 300
		if got := q.Status().Limits; got != want {
			t.Errorf("Limits = %+v, want %+v", got, want)
		}
		p.stop()
		time.Sleep(15 * time.Minute)
		f.wantCalls(2) // the plan of the process that fetched
		f.source.Describes.Repeat = "sometimes"
		if _, err := coordinator.New(coordinator.Config{Store: f.store, Accounts: []coordinator.AccountConfig{{Name: "x", Source: f.source}}}); err == nil {
			t.Error("New() = nil with a Repeat that there is not")
		}
	})
}

// What a token's life is, the issuer says. To want to be asked long after its end is no word
// that it lives till then.
func TestAQuestionPlannedLongAfterTheEndDoesNotProlongALife(t *testing.T) {
	bubble(t, func(t *testing.T, f *fleet) {
		f.ticket()
		p := f.refresher()
		f.token(p, time.Second)
		time.Sleep(5 * time.Minute)
		f.source.Next(coordinatortest.Answers(coordinator.FetchResult{
			Token: f.source.Current(), Lifetime: 115 * time.Minute, RefreshIn: 30 * 24 * time.Hour,
		}))
		if _, err := p.Invalidate(t.Context(), f.source.Current()); err != nil {
			t.Fatal(err)
		}
		f.wantCalls(2)
		if r := p.Status().Record; r.TTL > 2*time.Hour || time.Until(r.RefreshAt) > 11*time.Minute {
			t.Errorf("the token is to be served for %v and replaced in %v, want less than 2h, and the ten minutes of the schedule",
				r.TTL, time.Until(r.RefreshAt))
		}
	})
}
