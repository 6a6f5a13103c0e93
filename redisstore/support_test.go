package redisstore_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// open opens a store that is closed with the test. Its operations have more time than those of a
// store in use unless the test says how much: a busy machine may be late.
func open(t testing.TB, url string, o redisstore.Options) *redisstore.Store {
	t.Helper()
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	store, err := redisstore.Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// begun makes an attempt on schedule.
func begun(t testing.TB, store coordinator.Store, account string, seen coordinator.Fence) coordinator.Attempt {
	t.Helper()
	attempt, err := store.Begin(t.Context(), account, coordinator.BeginRequest{
		Seen: seen, Reason: coordinator.ReasonSchedule, TTL: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	return attempt
}

// of is an ordinary Commit of the attempt.
func of(attempt coordinator.Attempt, token string) coordinator.CommitRequest {
	return coordinator.CommitRequest{
		Attempt: attempt, Reason: coordinator.ReasonSchedule, Token: coordinator.NewToken(token),
		Lifetime: 2 * time.Hour, Calls: 1,
	}
}

// refreshed gives the account a token.
func refreshed(t testing.TB, store coordinator.Store, account, token string) coordinator.Record {
	t.Helper()
	r, err := store.Commit(t.Context(), account, of(begun(t, store, account, loaded(t, store, account).Record.Generation), token))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// heard subscribes to a pattern of channels. The function that it returns waits for the next
// notification.
func heard(t testing.TB, server *redistest.Server, pattern string) (next func() *redis.Message) {
	t.Helper()
	client := server.Client()
	sub := client.PSubscribe(t.Context(), pattern)
	t.Cleanup(func() {
		_ = sub.Close()
		_ = client.Close()
	})
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() *redis.Message {
		t.Helper()
		message, err := sub.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return message
	}
}

func loaded(t testing.TB, store coordinator.Store, account string) coordinator.State {
	t.Helper()
	states, err := store.Load(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	return states[0]
}

// eventually polls until ok.
func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not so: %s", within, what)
		}
	}
}

// patience is for what must happen soon and is not measured.
const patience = 20 * time.Second

// recorder is a watcher that keeps what it is told.
type recorder struct {
	mu         sync.Mutex
	subscribed [][]string
	lost       []error
	events     []coordinator.Event
}

func (r *recorder) Subscribed(accounts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	accounts = slices.Clone(accounts)
	slices.Sort(accounts)
	r.subscribed = append(r.subscribed, accounts)
}

func (r *recorder) Lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = append(r.lost, err)
}

func (r *recorder) Notified(e coordinator.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// counts returns how often the watcher was called.
func (r *recorder) counts() (subscribed, lost, events int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.subscribed), len(r.lost), len(r.events)
}

// follows reports whether the last n calls of Subscribed were for these
// accounts, in one call or several.
func (r *recorder) follows(since int, accounts ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, some := range r.subscribed[min(since, len(r.subscribed)):] {
		all = append(all, some...)
	}
	slices.Sort(all)
	slices.Sort(accounts)
	return slices.Equal(slices.Compact(all), accounts)
}

func (r *recorder) lastLost() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lost) == 0 {
		return nil
	}
	return r.lost[len(r.lost)-1]
}

// saw reports whether an event of the kind has arrived with the generation or
// fence.
func (r *recorder) saw(kind coordinator.EventKind, fence coordinator.Fence) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, func(e coordinator.Event) bool { return e.Kind == kind && e.Fence == fence })
}

// followed runs a subscription until the test ends, and waits until it flows.
func followed(t testing.TB, store *redisstore.Store, role coordinator.Role, accounts ...string) (coordinator.Subscription, *recorder) {
	t.Helper()
	r := new(recorder)
	sub := store.Subscribe(r)
	sub.Add(role, accounts...)
	run(t, sub)
	eventually(t, "Subscribed", patience, func() bool { return r.follows(0, accounts...) })
	return sub, r
}

// run runs a subscription until the test ends.
func run(t testing.TB, sub coordinator.Subscription) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { sub.Run(ctx) }) // ends with ctx; waited for when the test ends
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// doAs runs one command as the user of the URL.
func doAs(t testing.TB, url string, args ...any) error {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.DisableIdentity = true
	client := redis.NewClient(o)
	defer client.Close()
	return client.Do(t.Context(), args...).Err()
}
