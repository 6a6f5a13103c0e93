package phantom

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func newSealer(t testing.TB, account string, secrets ...string) *Sealer {
	t.Helper()
	var all [][]byte
	for _, secret := range secrets {
		all = append(all, []byte(secret))
	}
	s, err := New(account, all...)
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
	old := mustMake(t, newSealer(t, "wx1", secretA), "sdk", "hash")
	both := newSealer(t, "wx1", secretB, secretA)
	if _, err := both.Open(old, now); err != nil {
		t.Errorf("of the former secret: %v", err)
	}
	if _, err := newSealer(t, "wx1", secretB).Open(mustMake(t, both, "sdk", "hash"), now); err != nil {
		t.Errorf("of the new secret: %v", err)
	}
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	if _, err := New("wx1"); err == nil {
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
