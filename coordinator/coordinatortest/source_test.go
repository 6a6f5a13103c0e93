package coordinatortest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func fetch(t *testing.T, s coordinator.Source) coordinator.Token {
	t.Helper()
	issue, err := s.Fetch(t.Context(), coordinator.FetchRequest{Reason: coordinator.ReasonSchedule})
	if err != nil {
		t.Fatalf("Fetch() = %v", err)
	}
	return issue.Token
}

func wantFetchError(ctx context.Context, t *testing.T, s coordinator.Source, kind coordinator.FailureKind) {
	t.Helper()
	_, err := s.Fetch(ctx, coordinator.FetchRequest{})
	got, ok := errors.AsType[*coordinator.FetchError](err)
	if !ok || got.Kind != kind {
		t.Errorf("Fetch() = %v, want a *FetchError of the kind %q", err, kind)
	}
}

func wantValid(t *testing.T, s *coordinatortest.Source, want bool, tokens ...coordinator.Token) {
	t.Helper()
	for _, token := range tokens {
		if got := s.Valid(token); got != want {
			t.Errorf("Valid(%q) = %t, want %t", token.Reveal(), got, want)
		}
	}
}

func TestEachTokenKillsTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(coordinatortest.Source)
		wantValid(t, s, false, coordinator.Token{}, coordinator.NewToken("token-1"))
		first := fetch(t, s)
		wantValid(t, s, true, first)
		second := fetch(t, s)
		wantValid(t, s, true, first, second)
		time.Sleep(5 * time.Minute)
		wantValid(t, s, false, first)
		wantValid(t, s, true, second)
		third := fetch(t, s)
		wantValid(t, s, true, second, third)
		fourth := s.IssueOutside()
		wantValid(t, s, false, first, second)
		wantValid(t, s, true, third, fourth)
		if !s.Current().Equal(fourth) || s.Issued() != 4 || len(s.Calls()) != 3 {
			t.Errorf("current %q of %d issued in %d calls", s.Current().Reveal(), s.Issued(), len(s.Calls()))
		}
		time.Sleep(2 * time.Hour)
		wantValid(t, s, false, fourth)
	})
}

func TestNegativeOverlapKillsAtOnce(t *testing.T) {
	s := &coordinatortest.Source{Name: "other", Overlap: -1}
	first := fetch(t, s)
	if first.Reveal() != "other-1" {
		t.Errorf("the first token is %q", first.Reveal())
	}
	fetch(t, s)
	wantValid(t, s, false, first)
}

func TestOutcomesComeInTheOrderOfTheScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &coordinatortest.Source{Latency: 50 * time.Millisecond}
		odd := coordinator.FetchResult{Token: coordinator.NewToken("odd"), Lifetime: -1}
		s.Next(
			coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"),
			coordinatortest.AnswerLost(),
			coordinatortest.RequestLost(),
			coordinatortest.Garbage(),
			coordinatortest.Answers(odd),
			coordinatortest.Outcome{}.WithLatency(time.Second),
		)
		wantFetchError(t.Context(), t, s, coordinator.FailedRefused)
		for range 3 {
			wantFetchError(t.Context(), t, s, coordinator.FailedUnknown)
		}
		if got, err := s.Fetch(t.Context(), coordinator.FetchRequest{}); err != nil || !got.Token.Equal(odd.Token) || got.Lifetime != -1 {
			t.Errorf("Fetch() = %v, %v, want the odd answer", got, err)
		}
		start := time.Now()
		fetch(t, s)
		if took := time.Since(start); took != time.Second {
			t.Errorf("a slow Fetch() took %v, want 1s", took)
		}
		fetch(t, s)
		issued := []string{"", "token-1", "", "token-2", "", "token-3", "token-4"}
		for n, call := range s.Calls() {
			if call.Token.Reveal() != issued[n] {
				t.Errorf("call %d issued %q, want %q", n, call.Token.Reveal(), issued[n])
			}
			if took := call.End.Sub(call.At); n != 5 && took != 50*time.Millisecond {
				t.Errorf("call %d took %v, want 50ms", n, took)
			}
		}
	})
}

func TestHangingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &coordinatortest.Source{Latency: 50 * time.Millisecond}
		s.Default(coordinatortest.Hangs())
		for n, outcome := range []coordinatortest.Outcome{
			coordinatortest.Hangs(), coordinatortest.IssuesAndHangs(),
		} {
			s.Default(outcome)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			start := time.Now()
			wantFetchError(ctx, t, s, coordinator.FailedUnknown)
			if took := time.Since(start); took != time.Minute {
				t.Errorf("Fetch() took %v, want 1m", took)
			}
			if s.Issued() != n {
				t.Errorf("%d tokens were issued, want %d", s.Issued(), n)
			}
			cancel()
		}
	})
}

func TestAContextThatEndsOnTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &coordinatortest.Source{Latency: 50 * time.Millisecond}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantFetchError(ctx, t, s, coordinator.FailedBusy) // never sent
		for n, timeout := range []time.Duration{20 * time.Millisecond, 30 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			wantFetchError(ctx, t, s, coordinator.FailedUnknown)
			cancel()
			if s.Issued() != n {
				t.Errorf("%d tokens were issued after %v, want %d", s.Issued(), timeout, n)
			}
		}
	})
}

func TestAcceptRefusesOtherCredentials(t *testing.T) {
	s := new(coordinatortest.Source)
	old, corrected := s.WithCredential("old"), s.WithCredential("new")
	fetch(t, old)
	s.Accept("new")
	wantFetchError(t.Context(), t, old, coordinator.FailedRefused)
	fetch(t, corrected)
	if c, ok := corrected.(coordinator.Credentialed); !ok || c.Credential() != "new" {
		t.Errorf("Credential() is not %q", "new")
	}
	if len(s.Calls()) != 3 || s.Issued() != 2 {
		t.Errorf("%d calls issued %d tokens, want 3 and 2", len(s.Calls()), s.Issued())
	}
}

func TestBusiestCountsCallsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &coordinatortest.Source{Latency: time.Second}
		for range 3 {
			go func() { _, _ = s.Fetch(t.Context(), coordinator.FetchRequest{}) }() // the bubble waits for it
		}
		synctest.Wait()
		if got := s.Busiest(); got != 3 {
			t.Errorf("Busiest() = %d, want 3", got)
		}
	})
}
