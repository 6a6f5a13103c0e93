package phantom

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func newSealer(t testing.TB, account, secret string) *Sealer {
	t.Helper()
	s, err := New(account, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustMake(t testing.TB, s *Sealer, caller, verifier string) string {
	t.Helper()
	token, err := s.Make(caller, []byte(verifier), now.Add(2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

const (
	secretA = "0123456789abcdef0123456789abcdef"
	secretB = "fedcba9876543210fedcba9876543210"
)

func TestAPhantomOpensOnEveryServerWithTheAccountsSecret(t *testing.T) {
	token := mustMake(t, newSealer(t, "wx1", secretA), "sdk", "hash")
	if !Is(token) || len(token) > 128 || strings.ContainsAny(token, "+/=:~ ") {
		t.Errorf("Make() = %q", token)
	}
	s, err := newSealer(t, "wx1", secretA).Open(token, now)
	if err != nil || s.Caller != "sdk" || !s.End.Equal(now.Add(2*time.Hour)) || !s.Of([]byte("hash")) {
		t.Errorf("Open() = %+v, %v", s, err)
	}
	if s.Of([]byte("another hash")) || s.Of(nil) {
		t.Error("the phantom is good for another verifier")
	}
	if mustMake(t, newSealer(t, "wx1", secretA), "sdk", "hash") == token {
		t.Error("two phantoms are alike")
	}
}

func TestAPhantomShowsNothing(t *testing.T) {
	token := mustMake(t, newSealer(t, "wx1", secretA), "a-name-that-is-seen", "hash")
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, Prefix))
	if err != nil || strings.Contains(string(plain), "a-name") || strings.Contains(token, "a-name") {
		t.Errorf("the name is in %q", token)
	}
}

func TestAPhantomOpensNowhereElse(t *testing.T) {
	s := newSealer(t, "wx1", secretA)
	token := mustMake(t, s, "sdk", "hash")
	for name, other := range map[string]*Sealer{
		"another account":                     newSealer(t, "wx2", secretA),
		"another secret":                      newSealer(t, "wx1", secretB),
		"another account whose name is alike": newSealer(t, "wx1 ", secretA),
	} {
		if _, err := other.Open(token, now); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: Open() = %v", name, err)
		}
	}
	for i := len(Prefix); i < len(token); i++ {
		changed := []byte(token)
		changed[i] = 'A' + (changed[i]-'A'+1)%26
		if _, err := s.Open(string(changed), now); err == nil && string(changed) != token {
			t.Fatalf("Open() takes a phantom that was changed at %d", i)
		}
	}
	for _, bad := range []string{"", "zk_", token[1:], token[:len(token)-4], token + "AAAA", token + "\n", "zk_" + strings.Repeat("A", 1<<20), "zk_!!!!"} {
		if _, err := s.Open(bad, now); !errors.Is(err, ErrInvalid) {
			t.Errorf("Open(%.40q) = %v", bad, err)
		}
	}
}

func TestAPhantomEnds(t *testing.T) {
	s := newSealer(t, "wx1", secretA)
	token := mustMake(t, s, "sdk", "hash")
	if _, err := s.Open(token, now.Add(2*time.Hour-time.Second)); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	if _, err := s.Open(token, now.Add(2*time.Hour)); !errors.Is(err, ErrExpired) {
		t.Errorf("at its end: %v", err)
	}
}

func TestASecretCanBeReplacedWhilePhantomsLive(t *testing.T) {
	a, b, c := newSealer(t, "wx1", secretA), newSealer(t, "wx1", secretB), newSealer(t, "wx1", secretA+"C")
	const hour = time.Hour
	ofB := now.Add(hour) // is when b replaces a
	ofC := now.Add(4 * hour)
	afterB := b.Replacing(a, ofB)
	afterC := c.Replacing(afterB, ofC)
	for name, step := range map[string]struct {
		by, of *Sealer
		at     time.Time
		want   error
	}{
		"of the present secret":                        {afterB, b, ofB, nil},
		"of the former secret":                         {afterB, a, ofB, nil},
		"of the former secret to its end":              {afterB, a, ofB.Add(Life - time.Second), nil},
		"forged with the former secret after that":     {afterB, a, ofB.Add(Life), ErrInvalid},
		"of the secret before the former one":          {afterC, a, ofC, nil},
		"of it to its end":                             {afterC, a, ofB.Add(Life - time.Second), nil},
		"forged with it after that":                    {afterC, a, ofB.Add(Life), ErrInvalid},
		"of the former one when that before has ended": {afterC, b, ofB.Add(Life), nil},
		"of the former one after its end":              {afterC, b, ofC.Add(Life), ErrInvalid},
	} {
		token, err := step.of.Make("sdk", nil, step.at.Add(hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := step.by.Open(token, step.at); !errors.Is(err, step.want) {
			t.Errorf("%s: Open() = %v, want %v", name, err, step.want)
		}
	}
	if _, err := b.Open(mustMake(t, afterB, "sdk", "hash"), now); err != nil {
		t.Errorf("it is not made with the new secret: %v", err)
	}
	if kept := len(c.Replacing(afterB, ofB.Add(Life)).former); kept != 1 {
		t.Errorf("%d former keys are kept, want one", kept)
	}
}

func TestAPhantomThatWouldLiveTooLongIsForged(t *testing.T) {
	s := newSealer(t, "wx1", secretA)
	for ahead, want := range map[time.Duration]error{
		Life: nil, Life + 5*time.Minute: nil, Life + 6*time.Minute: ErrInvalid, 50 * 365 * 24 * time.Hour: ErrInvalid,
	} {
		token, err := s.Make("sdk", nil, now.Add(ahead))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(token, now); !errors.Is(err, want) {
			t.Errorf("that ends in %v: Open() = %v, want %v", ahead, err, want)
		}
	}
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	if _, err := New("wx1", nil); err == nil {
		t.Error("New without a secret = nil error")
	}
	if _, err := New("wx1", []byte("short-secret")); err == nil || strings.Contains(err.Error(), "short-secret") {
		t.Errorf("New with a short secret = %v", err)
	}
	s := newSealer(t, "wx1", secretA)
	for _, caller := range []string{"", strings.Repeat("n", 256)} {
		if _, err := s.Make(caller, nil, now); err == nil {
			t.Errorf("Make(%d bytes) = nil error", len(caller))
		}
	}
	if _, err := s.Make("sdk", nil, time.Time{}); err == nil {
		t.Error("Make(no end) = nil error")
	}
}

func FuzzOpen(f *testing.F) {
	s := newSealer(f, "wx1", secretA)
	f.Add(mustMake(f, s, "sdk", "hash"))
	f.Add("zk_")
	f.Fuzz(func(t *testing.T, token string) {
		if got, err := s.Open(token, now); err == nil && (got.Caller != "sdk" || !got.Of([]byte("hash"))) { // those are seeds
			t.Errorf("Open(%q) = %+v", token, got)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	s := newSealer(b, "wx1", secretA)
	token := mustMake(b, s, "sdk", "hash")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(token, now); err != nil {
			b.Fatal(err)
		}
	}
}
