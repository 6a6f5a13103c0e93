package redisstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestSubscriptionComesBackWithAllAccounts(t *testing.T) {
	server := redistest.Start(t)
	for name, cut := range map[string]func(){
		"CLIENT KILL": func() { server.MustDo(t, "client", "kill", "type", "pubsub") },
		"a restart":   func() { server.Restart(t) },
	} {
		t.Run(name, func(t *testing.T) {
			store := open(t, server.URL(), redisstore.Options{})
			sub, r := followed(t, store, coordinator.Refresher, "a", "b")
			sub.Add(coordinator.Reader, "c")
			eventually(t, "c is subscribed", patience, func() bool { return r.follows(1, "c") })
			for range 3 {
				before, lost, _ := r.counts()
				cut()
				eventually(t, "Subscribed with all accounts again", patience, func() bool {
					return r.follows(before, "a", "b", "c")
				})
				if _, now, _ := r.counts(); now != lost+1 {
					t.Errorf("Lost was called %d times, want once", now-lost)
				}
				if err := r.lastLost(); !errors.Is(err, coordinator.ErrUnreachable) {
					t.Errorf("Lost(%v), want %v", err, coordinator.ErrUnreachable)
				}
				record := refreshed(t, store, "c", "token")
				eventually(t, "Notified", patience, func() bool { return r.saw(coordinator.EventRefreshed, record.Generation) })
			}
		})
	}
}

func TestHungServerIsNoticed(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	_, r := followed(t, store, coordinator.Reader, "a")
	before, _, _ := r.counts()
	server.Pause()
	start := time.Now()
	eventually(t, "Lost", patience, func() bool { return r.lastLost() != nil })
	took := time.Since(start)
	server.Resume()
	if took > 2*time.Second {
		t.Errorf("it took %v to notice a hung server, want less than 2s", took)
	}
	eventually(t, "Subscribed again", patience, func() bool { return r.follows(before, "a") })
	t.Logf("noticed after %v", took)
}

func TestServerThatIsAwayIsSaidOnce(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	server.Kill()
	r := new(recorder)
	sub := store.Subscribe(r)
	sub.Add(coordinator.Reader, "a")
	run(t, sub)
	eventually(t, "Lost", patience, func() bool { return r.lastLost() != nil })
	server.Restart(t)
	eventually(t, "Subscribed", patience, func() bool { return r.follows(0, "a") })
	if _, lost, _ := r.counts(); lost != 1 {
		t.Errorf("Lost was called %d times, want once", lost)
	}
}

func TestSubscriptionWithoutAccountsConnectsToNothing(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	r := new(recorder)
	sub := store.Subscribe(r)
	run(t, sub)
	sub.Add(coordinator.Reader, "a")
	eventually(t, "Subscribed", patience, func() bool { return r.follows(0, "a") })
	sub.Remove("a")
	sub.Add(coordinator.Reader, "b")
	eventually(t, "b is subscribed", patience, func() bool { return r.follows(1, "b") })
	if got := server.MustDo(t, "pubsub", "numsub", "zhongkong:{a}:refreshed"); fmt.Sprint(got) != "[zhongkong:{a}:refreshed 0]" {
		t.Errorf("after Remove: %v", got)
	}
}

func TestReaderSubscribesToNothingOfTheRefreshers(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	sub, r := followed(t, store, coordinator.Reader, "a")
	channels := func() string { return fmt.Sprint(server.MustDo(t, "pubsub", "channels", "zhongkong:{a}:*")) }
	if got := channels(); got != "[zhongkong:{a}:refreshed]" {
		t.Errorf("a reader subscribes to %s", got)
	}
	sub.Add(coordinator.Refresher, "a")
	eventually(t, "Subscribed as a refresher", patience, func() bool { return r.follows(1, "a") })
	if got := channels(); !strings.Contains(got, "wanted") || !strings.Contains(got, "begun") {
		t.Errorf("a refresher subscribes to %s", got)
	}
	sub.Add(coordinator.Reader, "a")
	eventually(t, "only one channel again", patience, func() bool { return channels() == "[zhongkong:{a}:refreshed]" })
}

func TestManyAccountsShareOneConnection(t *testing.T) {
	const n = 20000
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	accounts := make([]string, n)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("wx%016d", i)
	}
	start := time.Now()
	_, r := followed(t, store, coordinator.Refresher, accounts...)
	t.Logf("%d accounts subscribed in %v", n, time.Since(start))
	if subscribed, _, _ := r.counts(); subscribed != 1 {
		t.Errorf("Subscribed was called %d times, want once with all", subscribed)
	}
	if got := server.MustDo(t, "client", "list", "type", "pubsub").(string); strings.Count(got, "\n") != 1 {
		t.Errorf("subscribed connections:\n%swant 1", got)
	}
	server.MustDo(t, "client", "kill", "type", "pubsub")
	eventually(t, "all are subscribed again", patience, func() bool { return r.follows(1, accounts...) })
}

// many returns the names of more accounts than are subscribed one by one.
func many() []string {
	accounts := make([]string, 300)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("wx%d", i)
	}
	return accounts
}

// channelsOf returns how many channels and patterns are subscribed.
func channelsOf(t *testing.T, server *redistest.Server) (channels int, patterns int64) {
	t.Helper()
	all, _ := server.MustDo(t, "pubsub", "channels").([]any)
	n, _ := server.MustDo(t, "pubsub", "numpat").(int64)
	return len(all), n
}

func TestPatternsAndChannelsHearTheSame(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	_, exact := followed(t, store, coordinator.Refresher, "wx7", "stranger")
	sub, byPattern := followed(t, store, coordinator.Refresher, many()...)
	if channels, patterns := channelsOf(t, server); channels != 6 || patterns != 3 {
		t.Errorf("%d channels and %d patterns are subscribed, want 6 and 3", channels, patterns)
	}
	hear := func() {
		t.Helper()
		if err := store.Want(t.Context(), "wx7", coordinator.WantRequest{Reason: coordinator.ReasonForced}); err != nil {
			t.Fatal(err)
		}
		record := refreshed(t, store, "wx7", "token")
		for name, r := range map[string]*recorder{"exact": exact, "by pattern": byPattern} {
			eventually(t, "Notified "+name, patience, func() bool {
				return r.saw(coordinator.EventWanted, 0) && r.saw(coordinator.EventBegun, record.Generation) && r.saw(coordinator.EventRefreshed, record.Generation)
			})
		}
	}
	hear()
	strange := refreshed(t, store, "stranger", "token")
	record := refreshed(t, store, "wx8", "token")
	eventually(t, "Notified", patience, func() bool { return byPattern.saw(coordinator.EventRefreshed, record.Generation) })
	if byPattern.saw(coordinator.EventRefreshed, strange.Generation) {
		t.Error("an account is notified that was not added")
	}
	before, _, _ := byPattern.counts()
	sub.Remove("wx8")
	sub.Add(coordinator.Reader, "wx9")
	sub.Add(coordinator.Reader, "late")
	eventually(t, "Subscribed with what was added", patience, func() bool { return byPattern.follows(before, "late", "wx9") })
	removed := refreshed(t, store, "wx8", "token")
	asReader := refreshed(t, store, "wx9", "token")
	eventually(t, "Notified", patience, func() bool { return byPattern.saw(coordinator.EventRefreshed, asReader.Generation) })
	if byPattern.saw(coordinator.EventRefreshed, removed.Generation) {
		t.Error("an account is notified that was removed")
	}
	if byPattern.saw(coordinator.EventBegun, asReader.Generation) {
		t.Error("a reader is notified of an attempt")
	}
	before, _, _ = byPattern.counts()
	exactBefore, _, _ := exact.counts()
	server.MustDo(t, "client", "kill", "type", "pubsub")
	all := slices.DeleteFunc(append(many(), "late"), func(account string) bool { return account == "wx8" })
	eventually(t, "Subscribed again", patience, func() bool {
		return byPattern.follows(before, all...) && exact.follows(exactBefore, "wx7", "stranger")
	})
	hear()
}

func TestASetThatGrowsIsSubscribedByPatterns(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	sub, r := followed(t, store, coordinator.Refresher, "a", "b")
	sub.Add(coordinator.Refresher, many()...)
	eventually(t, "Subscribed", patience, func() bool { return r.follows(1, many()...) })
	eventually(t, "no channels of single accounts", patience, func() bool {
		channels, patterns := channelsOf(t, server)
		return channels == 0 && patterns == 3
	})
	record := refreshed(t, store, "a", "token")
	eventually(t, "Notified", patience, func() bool { return r.saw(coordinator.EventRefreshed, record.Generation) })
	if _, lost, _ := r.counts(); lost != 0 {
		t.Errorf("Lost was called %d times, want never", lost)
	}
}

func TestReadersThatMakeASetLargeLeaveItsRefreshersTheirEvents(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	sub, r := followed(t, store, coordinator.Refresher, "a", "b")
	sub.Add(coordinator.Reader, many()...)
	eventually(t, "Subscribed", patience, func() bool { return r.follows(1, many()...) })
	eventually(t, "no channels of single accounts", patience, func() bool {
		channels, patterns := channelsOf(t, server)
		return channels == 0 && patterns == 3
	})
	if err := store.Want(t.Context(), "a", coordinator.WantRequest{Reason: coordinator.ReasonForced}); err != nil {
		t.Fatal(err)
	}
	record := refreshed(t, store, "a", "token")
	eventually(t, "Notified", patience, func() bool {
		return r.saw(coordinator.EventWanted, 0) && r.saw(coordinator.EventBegun, record.Generation)
	})
}

func TestUnreadableNotificationMakesFollowersLookAgain(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	_, r := followed(t, store, coordinator.Refresher, "a")
	for i, payload := range []string{
		"", "{", "null", `[]`, `{"event":"what"}`, `{"event":"wanted"}`, `{"event":"refreshed"}`,
		`{"event":"refreshed","access_token":"t","generation":1e300}`,
		`{"event":"refreshed","access_token":"t","generation":7,"ttl_ms":9223372036854775807,` +
			`"issued_at":"2026-01-02T03:04:05Z","expires_at":"2026-01-02T05:04:05Z"}`,
		`{"event":"refreshed","access_token":"eyJ.a.b.c.d","generation":7,"ttl_ms":1000,` +
			`"issued_at":"2026-01-02T03:04:05Z","expires_at":"2026-01-02T05:04:05Z"}`,
	} {
		server.MustDo(t, "publish", "zhongkong:{a}:refreshed", payload)
		eventually(t, "Subscribed again after "+payload, patience, func() bool {
			subscribed, _, _ := r.counts()
			return subscribed == i+2
		})
	}
	if _, lost, events := r.counts(); lost != 0 || events != 0 {
		t.Errorf("Lost was called %d times and Notified %d times, want never", lost, events)
	}
	if got := store.Stats().Unreadable; got != 10 {
		t.Errorf("Unreadable = %d, want 10", got)
	}
}

func TestAddAndRemoveWhileTheConnectionBreaks(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	sub, r := followed(t, store, coordinator.Reader, "keep")
	for i := range 50 {
		name := fmt.Sprintf("a%d", i)
		sub.Add(coordinator.Refresher, name)
		if i%5 == 0 {
			server.MustDo(t, "client", "kill", "type", "pubsub")
		}
		if i%2 == 0 {
			sub.Remove(name)
		}
	}
	want := []string{"keep"}
	for i := 1; i < 50; i += 2 {
		want = append(want, fmt.Sprintf("a%d", i))
	}
	before, _, _ := r.counts()
	server.MustDo(t, "client", "kill", "type", "pubsub")
	eventually(t, "the right set is subscribed", patience, func() bool { return r.follows(before, want...) })
}
