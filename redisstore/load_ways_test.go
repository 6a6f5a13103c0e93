package redisstore

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// A script and a transaction read the same fields, each with its own list of them.
func TestScriptAndTransactionReadTheSame(t *testing.T) {
	server := redistest.Start(t)
	d := newDated(t, server.URL(), 0, Options{})
	record, err := d.Commit(t.Context(), "a", coordinator.CommitRequest{
		Attempt: d.begin(0), Token: coordinator.NewToken("token"), Lifetime: 2 * time.Hour, RefreshIn: time.Hour, Calls: 2,
		Attributes: map[string]string{"scope": "a"}, Repeated: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	rejected, err := d.Begin(t.Context(), "a", coordinator.BeginRequest{Seen: record.Generation, Reason: coordinator.ReasonRejected, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Fail(t.Context(), "a", coordinator.FailRequest{
		Attempt: rejected, RetryIn: time.Minute, Calls: 1,
		Failure: coordinator.Failure{Kind: coordinator.FailedRefused, Code: "40013", Message: "invalid appid", Credential: "print"},
	}); err != nil {
		t.Fatal(err)
	}
	// A new secret may be tried in spite of the back-off.
	if _, err := d.Begin(t.Context(), "a", coordinator.BeginRequest{
		Seen: record.Generation, Reason: coordinator.ReasonSchedule, Credential: "another", TTL: time.Minute,
		Limits: coordinator.Limits{Window: 365 * 24 * time.Hour},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(t.Context(), "a", 20*time.Second); err != nil {
		t.Fatal(err)
	}

	var states [2]coordinator.State
	for i, scripted := range []bool{true, false} {
		d.scripted.Store(scripted)
		loaded, err := d.Load(t.Context(), "a")
		if err != nil || loaded[0].Err != nil {
			t.Fatalf("Load() = %+v, %v", loaded, err)
		}
		states[i] = loaded[0]
	}
	s := states[0]
	if s.Failure == nil || s.Failure.Credential == "" || s.Failure.Code == "" || len(s.Open) == 0 || s.Holder == "" || s.HolderTTL == 0 ||
		s.Conflicts == 0 || s.CallsToday != 1 || s.Record.Attributes == nil || !s.Record.Repeated || s.Record.RefreshAt.IsZero() || s.Fence <= record.Generation {
		t.Errorf("the state lacks something: %+v", s)
	}
	for i := range states { // these pass between the two
		states[i].Now, states[i].HolderTTL, states[i].Record.TTL = time.Time{}, 0, 0
	}
	if !reflect.DeepEqual(states[0], states[1]) { //nolint:govet // neither state has an error: see above
		t.Errorf("by script:\n%+v\nby transaction:\n%+v", states[0], states[1])
	}
}

// seen counts the transactions that pass a proxy, and those of them that have keys of
// more than one account.
type seen struct {
	transactions, together int

	account string // of the transaction under way
}

// of takes in a command, and reports whether it names another account than the
// transaction so far. There is one connection.
func (s *seen) of(command []string) (another bool) {
	if strings.EqualFold(command[0], "multi") {
		s.transactions++
		s.account = ""
	}
	for _, word := range command[1:] {
		account, _, isKey := strings.Cut(strings.TrimPrefix(word, "zhongkong:{"), "}:")
		if !isKey || account == s.account {
			continue
		}
		if another = s.account != ""; another {
			s.together++
		}
		s.account = account
	}
	return another
}

// stored returns names of accounts, one of which has a token.
func stored(t *testing.T, server *redistest.Server) (names []string) {
	t.Helper()
	s := newDated(t, server.URL(), 0, Options{})
	if _, err := s.Commit(t.Context(), "a", coordinator.CommitRequest{
		Attempt: s.begin(0), Token: coordinator.NewToken("token"), Lifetime: time.Hour,
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 2*togetherMost - 1 {
		names = append(names, fmt.Sprint("b", i))
	}
	return append(names, "a", "z")
}

// wantLoaded fails the test unless the one with the token is read as such.
func wantLoaded(t *testing.T, s *Store, names []string) {
	t.Helper()
	states, err := s.Load(t.Context(), names...)
	if err != nil {
		t.Fatal(err)
	}
	for i, state := range states {
		has := names[i] == "a"
		if state.Account != names[i] || state.Err != nil || state.Record.Usable() != has || (state.CallsToday == 1) != has {
			t.Errorf("Load() of %q = %+v", names[i], state)
		}
	}
}

func TestManyAreReadTogether(t *testing.T) {
	server := redistest.Start(t)
	names := stored(t, server)
	var seen seen
	s := newDated(t, redistest.StartProxy(t, server, func(command []string) string { seen.of(command); return "" }).URL(), 0, Options{})
	wantLoaded(t, s.Store, names)
	if want := 3; seen.transactions != want {
		t.Errorf("%d accounts were read in %d transactions, want %d", len(names), seen.transactions, want)
	}
	// On another day than the one that is assumed.
	s.clock.ahead.Store(int64(30 * time.Hour))
	wantLoaded(t, s.Store, names)
}

// A proxy in front of several servers refuses a transaction with keys of more than one.
func TestAccountsAreReadApartWhereTheyCannotBeTogether(t *testing.T) {
	server := redistest.Start(t)
	names := stored(t, server)
	var seen seen
	s := newDated(t, redistest.StartProxy(t, server, func(command []string) string {
		if seen.of(command) {
			return "CROSSSLOT Keys in request don't hash to the same slot"
		}
		return ""
	}).URL(), 0, Options{})
	wantLoaded(t, s.Store, names)
	before := seen
	wantLoaded(t, s.Store, names)
	if seen.together != before.together || seen.transactions != before.transactions+len(names) {
		t.Errorf("read again in %d transactions, want %d: one for each account", seen.transactions-before.transactions, len(names))
	}
}

func TestOneDeniedAccountIsNamed(t *testing.T) {
	server := redistest.Start(t)
	names := stored(t, server)
	s := newDated(t, redistest.StartProxy(t, server, func(command []string) string {
		if strings.Contains(strings.Join(command, " "), "{z}") {
			return "NOPERM No permissions to access a key"
		}
		return ""
	}).URL(), 0, Options{})
	if _, err := s.Load(t.Context(), names...); err == nil || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("Load() = %v, want that %q is denied", err, "z")
	}
	wantLoaded(t, s.Store, names[:len(names)-1])
	if s.apart.Load() {
		t.Error("all accounts are read apart because one is denied")
	}
}

// Redis queues no command for a transaction when it has reached maxmemory, and carries out
// those that read.
func TestAccountsAreReadFromARedisThatHasReachedMaxmemory(t *testing.T) {
	server := redistest.Start(t)
	names := stored(t, server)
	s := newDated(t, server.URL(), 0, Options{})
	server.MustDo(t, "set", "zhongkong:{damaged}:token", "a string")
	server.MustDo(t, "config", "set", "maxmemory", "1")
	wantLoaded(t, s.Store, names)
	wantLoaded(t, s.Store, []string{"a"})
	states, err := s.Load(t.Context(), "a", "damaged")
	var damage *DataError
	if err != nil || !states[0].Record.Usable() || !errors.As(states[1].Err, &damage) || !strings.Contains(damage.Key, "damaged") {
		t.Errorf("Load() = %+v, %v", states, err)
	}
	if _, err := s.Begin(t.Context(), "b1", coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: time.Minute}); !errors.Is(err, ErrUnable) {
		t.Errorf("Begin() = %v, want that Redis is unable to", err)
	}
	// On another day than the one that is assumed.
	s.clock.ahead.Store(int64(30 * time.Hour))
	wantLoaded(t, s.Store, names)
}

// Without a transaction an account may change between two of the commands that read it.
func TestAnAccountThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	server := redistest.Start(t)
	writer := newDated(t, server.URL(), 0, Options{})
	var changes, most int
	var newest coordinator.Fence
	change := func() {
		record, err := writer.Commit(t.Context(), "a", coordinator.CommitRequest{
			Attempt: writer.begin(newest), Token: coordinator.NewToken(fmt.Sprint("token ", changes)), Lifetime: time.Hour,
		})
		if err != nil {
			t.Error(err)
		}
		newest, changes = record.Generation, changes+1
	}
	change()
	s := newDated(t, redistest.StartProxy(t, server, func(command []string) string {
		switch {
		case strings.EqualFold(command[0], "multi"):
			return "OOM command not allowed when used memory > 'maxmemory'."
		case strings.EqualFold(command[0], "pttl") && changes < most: // after the token was read, before the state is
			change()
		}
		return ""
	}).URL(), 0, Options{})
	most = changes + 2
	states, err := s.Load(t.Context(), "a")
	if err != nil || changes != most || states[0].Record.Generation != newest || states[0].Fence != newest {
		t.Errorf("Load() = %+v, %v after %d changes, want generation %d", states, err, changes-1, newest)
	}
	most = 1 << 20
	if _, err := s.Load(t.Context(), "a"); !errors.Is(err, coordinator.ErrUnreachable) || !strings.Contains(err.Error(), "changes while it is read") {
		t.Errorf("Load() = %v of an account that changes all the time", err)
	}
}
