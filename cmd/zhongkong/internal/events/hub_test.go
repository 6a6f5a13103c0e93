package events

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

func heard(account string, fence coordinator.Fence) coordinator.Observation {
	return coordinator.Observation{Kind: coordinator.Notified, Account: account, Event: &coordinator.Event{
		Kind: coordinator.EventRefreshed, Account: account, Fence: fence, Reason: coordinator.ReasonSchedule,
		Record: coordinator.Record{
			Token: coordinator.NewToken("sesame"), Generation: fence, IssuedBy: "host:1", TTL: time.Hour,
		},
	}}
}

func all(*Entry) bool { return true }

func TestListenersGetWhatTheyWantInOrder(t *testing.T) {
	h := New()
	l := h.Listen(func(e *Entry) bool { return e.Account == "a" })
	defer l.Close()
	h.Observe(heard("a", 1))
	h.Observe(heard("b", 2))
	h.Observe(heard("a", 3))
	for _, want := range []coordinator.Fence{1, 3} {
		if e := <-l.C; e.Generation != want {
			t.Errorf("generation = %d, want %d", e.Generation, want)
		}
	}
}

func TestASlowListenerIsCutOffAndHoldsNobodyUp(t *testing.T) {
	h := New()
	slow, quick := h.Listen(all), h.Listen(all)
	defer quick.Close()
	for n := range queue + 1 {
		h.Observe(heard("a", coordinator.Fence(n+1)))
		<-quick.C
	}
	got := 0
	for range slow.C {
		got++
	}
	if got != queue {
		t.Errorf("the slow one got %d events before its end, want %d", got, queue)
	}
	slow.Close() // twice is no harm
}

func TestAnEntryHasNoToken(t *testing.T) {
	h := New()
	h.Observe(heard("a", 7))
	e := h.Recent(1, all)[0]
	if line := string(e.JSON()); strings.Contains(line, "sesame") || strings.Contains(line, "[token]") {
		t.Errorf("JSON() = %s: a token is in it", line)
	}
	var got map[string]any
	if err := json.Unmarshal(e.JSON(), &got); err != nil {
		t.Fatal(err)
	}
	if got["by"] != "host:1" || got["ttl_seconds"] != 3600.0 || got["event"] != "refreshed" {
		t.Errorf("JSON() = %s", e.JSON())
	}
}

func TestWhatIsNoNewsIsNotTold(t *testing.T) {
	h := New()
	h.Observe(coordinator.Observation{Kind: coordinator.Fetched, Account: "a"})
	h.Observe(coordinator.Observation{Kind: coordinator.Notified, Event: &coordinator.Event{Kind: coordinator.EventWanted}})
	if got := h.Recent(9, all); len(got) != 0 {
		t.Errorf("Recent = %d entries, want none", len(got))
	}
}

func TestRecentKeepsTheNewest(t *testing.T) {
	h := New()
	for n := range kept + 10 {
		h.Observe(heard(fmt.Sprint("a", n%2), coordinator.Fence(n+1)))
	}
	got := h.Recent(3, func(e *Entry) bool { return e.Account == "a1" })
	if len(got) != 3 || got[0].Generation != kept+10 || got[2].Generation != kept+6 {
		t.Errorf("Recent = %v", got)
	}
	if n := len(h.Recent(kept*2, all)); n != kept {
		t.Errorf("%d are kept, want %d", n, kept)
	}
}
