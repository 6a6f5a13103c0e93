package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// realCost takes a few milliseconds.
var realCost = cost{KiB: 1 << 10, Passes: 2, Lanes: 1}

// flooded is an Authenticator in the middle of a flood of wrong passwords from a hundred
// addresses, with real slow hashes.
type flooded struct {
	*Authenticator
	next   chan struct{} // a send lets the hash that is being computed end
	mu     sync.Mutex    // guards hashed
	hashed []string      // passwords, in the order in which their hashes began
}

// flood returns when the queue is full, and a wrong password is being hashed. Each of the
// addresses has tried a password before.
func flood(t *testing.T, users ...User) (f *flooded, stop func()) {
	t.Helper()
	f = &flooded{Authenticator: newAuthenticator(t, users...), next: make(chan struct{})}
	const addresses = 100
	for i := range addresses {
		guess(t, f.Authenticator, addr(i), "alice")
	}
	derive := f.derive
	ctx, cancel := context.WithCancel(t.Context())
	f.derive = func(password, salt []byte, c cost) []byte {
		f.mu.Lock()
		f.hashed = append(f.hashed, string(password))
		f.mu.Unlock()
		select {
		case <-f.next:
		case <-ctx.Done():
		}
		return derive(password, salt, c)
	}
	var guesses sync.WaitGroup
	for i := range 3 * addresses {
		guesses.Go(func() { _, _ = f.Authenticate(ctx, addr(i%addresses), Credentials{"alice", fmt.Sprint("wrong", i)}) })
	}
	synctest.Wait()
	if len(f.queue.waiting) != maxWaiting || len(f.began()) != MaxHashes {
		t.Fatalf("%d wait, want %d; %d are hashed", len(f.queue.waiting), maxWaiting, len(f.began()))
	}
	return f, func() { cancel(); guesses.Wait() }
}

func (f *flooded) began() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.hashed)
}

func TestAFloodOfWrongPasswordsDoesNotTouchKeysOrProvedCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, key := withKey("app")
		bob := User{Name: "bob", Password: "a password of bob", Accounts: []string{"*"}}
		f, stop := flood(t, app, bob, hashedForReal("alice", "open sesame"))
		defer stop()
		for i := range 200 { // also from the addresses of the flood; no hash ends meanwhile
			mustEnter(t, f.Authenticator, addr(i), "app", key)
			mustEnter(t, f.Authenticator, addr(i), "bob", "a password of bob")
		}
		if got := len(f.began()); got != MaxHashes {
			t.Errorf("%d slow hashes began, want %d: the first has not ended", got, MaxHashes)
		}
	})
}

func TestAFirstPasswordFromACleanAddressGoesBeforeAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, stop := flood(t, hashedForReal("alice", "open sesame"), hashedForReal("bob", "correct horse"))
		defer stop()
		entered := make(chan error, 2)
		for i, c := range []Credentials{{"alice", "open sesame"}, {"bob", "correct horse"}} {
			go func() { // ends when its hash does
				_, err := f.Authenticate(t.Context(), addr(1000+i), Credentials{c.Name, c.Password})
				entered <- err
			}()
			synctest.Wait()
		}
		for range 3 { // the hash that was being computed, and theirs
			f.next <- struct{}{}
			synctest.Wait()
		}
		for range 2 {
			if err := <-entered; err != nil {
				t.Error(err)
			}
		}
		began := f.began()[MaxHashes:][:2]
		if slices.Sort(began); !slices.Equal(began, []string{"correct horse", "open sesame"}) {
			t.Errorf("hashes of %q went first", began)
		}
	})
}

// Each of many clean addresses repeats a guess until it has been looked at, which none of
// them has been before.
func TestGuessesFromCleanAddressesLetACallerOfAnotherGroupOfNamesInAtOnce(t *testing.T) {
	for name, guessed := range map[string]func(group, own uint64) bool{
		"at one name":                func(group, own uint64) bool { return group == (own+1)%nameGroups },
		"at names of all the others": func(group, own uint64) bool { return group != own },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newAuthenticator(t, alice())
				g.derive = func(password, salt []byte, c cost) []byte {
					time.Sleep(100 * time.Millisecond)
					return argon2id(password, salt, c)
				}
				var targets []string
				for group := range uint64(nameGroups) {
					if guessed(group, g.queue.groupOf("alice")) {
						targets = append(targets, nameIn(g.queue, group))
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				var guesses sync.WaitGroup
				for i := range 500 {
					guesses.Go(func() {
						for ctx.Err() == nil {
							_, err := g.Authenticate(ctx, addr(i), Credentials{targets[i%len(targets)], fmt.Sprint("wrong", i)})
							if errors.Is(err, ErrDenied) {
								return
							}
							time.Sleep(time.Second)
						}
					})
				}
				time.Sleep(5*time.Second + 50*time.Millisecond)
				if took, tries := comeUntilIn(t, g, there, "alice", "open sesame"); took > time.Second || tries > 1 {
					t.Errorf("let in after %v and %d tries, want one try within a second", took, tries)
				}
				cancel()
				guesses.Wait()
			})
		})
	}
}

// nameIn returns a name of the group.
func nameIn(q *queue, group uint64) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("name", i); q.groupOf(name) == group {
			return name
		}
	}
}

// A right password that was proved elsewhere needs no hash where others failed.
func TestAProvedPasswordDoesNotWaitForTheHashesOfOtherAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bob := User{Name: "bob", Password: "a password of bob", Accounts: []string{"*"}}
		f, stop := flood(t, bob, hashedForReal("alice", "open sesame"))
		defer stop()
		for range freeFailures + 1 {
			f.throttle.fail(there)
		}
		if _, tries := comeUntilIn(t, f.Authenticator, there, "bob", "a password of bob"); tries > 3 {
			t.Errorf("let in after %d tries", tries)
		}
		if got := len(f.began()); got != MaxHashes {
			t.Errorf("%d slow hashes began, want %d: the first has not ended", got, MaxHashes)
		}
	})
}

func hashedForReal(name, password string) User {
	return User{Name: name, PasswordHashes: []string{hashAt(password, realCost)}, Accounts: []string{"*"}}
}

// BenchmarkFlood gives the time that callers need in the middle of a flood of wrong
// passwords from a thousand addresses, with the hashes of `zhongkong passwd`.
func BenchmarkFlood(b *testing.B) {
	app, key := withKey("app")
	hash, err := Hash("open sesame")
	if err != nil {
		b.Fatal(err)
	}
	g, err := New([]User{app, {Name: "alice", PasswordHashes: []string{hash}, Accounts: []string{"*"}}, {Name: "proved", Password: "a password", Accounts: []string{"*"}}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 { // each address has made a guess before
		g.firstSeen.at(uint64(i), addr(i), time.Now())
	}
	ctx, cancel := context.WithCancel(b.Context())
	var guesses sync.WaitGroup
	guesses.Go(func() {
		for i := 0; ctx.Err() == nil; i++ { // 200 a second
			guesses.Go(func() { _, _ = g.Authenticate(ctx, addr(i%1000), Credentials{"alice", fmt.Sprint("wrong", i)}) })
			time.Sleep(5 * time.Millisecond)
		}
	})
	b.Run("key", func(b *testing.B) {
		for b.Loop() {
			_, _ = g.Authenticate(ctx, there, Credentials{"app", key})
		}
	})
	b.Run("proved", func(b *testing.B) {
		for b.Loop() {
			_, _ = g.Authenticate(ctx, there, Credentials{"proved", "a password"})
		}
	})
	b.Run("first password from a clean address", func(b *testing.B) {
		for i := 0; b.Loop(); i++ { // a wrong one takes as long as a right one
			if _, err := g.Authenticate(ctx, addr(1<<20+i), Credentials{"alice", fmt.Sprint("other", i)}); !errors.Is(err, ErrDenied) {
				b.Fatal(err)
			}
		}
	})
	cancel()
	guesses.Wait()
}
