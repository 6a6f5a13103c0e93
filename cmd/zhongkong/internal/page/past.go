package page

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// timelineLength is how many events the page shows.
	timelineLength = 30
	// historyFor is the number of accounts up to which their logs are read;
	// of more, what this process heard of is shown.
	historyFor = 20
	// historyLife is for how long a log that was read is shown again: many
	// may look, and each event makes every page look.
	historyLife = time.Second
	// historyPatience is how long the page waits for the logs.
	historyPatience = 500 * time.Millisecond
)

// pastEvents reads the logs of accounts, each at most once in a while.
type pastEvents struct {
	from History // nil: there are no logs
	hub  *events.Hub

	mu  sync.Mutex // guards what follows
	all map[string]pastLog
}

type pastLog struct {
	at     time.Time
	events []Event
}

func newPastEvents(from History, hub *events.Hub) *pastEvents {
	return &pastEvents{from: from, hub: hub, all: make(map[string]pastLog)}
}

// of returns the last events of the accounts; false if that cannot be known.
func (p *pastEvents) of(ctx context.Context, accounts []string) ([]Event, bool) {
	if p.from == nil || len(accounts) > historyFor {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, historyPatience)
	defer cancel()
	var merged []Event
	for _, account := range accounts {
		got, err := p.one(ctx, account)
		if err != nil {
			return nil, false
		}
		merged = append(merged, got...)
	}
	slices.SortStableFunc(merged, func(a, b Event) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
	return merged[:min(len(merged), timelineLength)], true
}

func (p *pastEvents) one(ctx context.Context, account string) ([]Event, error) {
	p.mu.Lock()
	log, ok := p.all[account]
	p.mu.Unlock()
	if ok && time.Since(log.at) < historyLife && !p.heardSince(account, log.at) {
		return log.events, nil
	}
	began := time.Now()
	got, err := p.from.History(ctx, account, timelineLength)
	if err != nil {
		return nil, err
	}
	for i := range got {
		got[i].Account = account
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) > 10*historyFor {
		clear(p.all)
	}
	p.all[account] = pastLog{began, got}
	return got, nil
}

func (p *pastEvents) heardSince(account string, t time.Time) bool {
	newest := p.hub.Recent(1, func(e *events.Entry) bool { return e.Account == account })
	return len(newest) > 0 && !newest[0].Time.Before(t.Truncate(time.Millisecond))
}

// heard returns what this process heard of.
func heard(hub *events.Hub, v Viewer, search func(string) bool) []Event {
	recent := hub.Recent(timelineLength, func(e *events.Entry) bool {
		if e.Event == string(coordinator.EventBegun) {
			return false // the account shows that it is being refreshed
		}
		return e.Account == "" || v.May(e.Account) && search(e.Account)
	})
	var all []Event
	for _, e := range recent {
		all = append(all, Event{
			At: e.Time, Account: e.Account, Event: e.Event, By: e.By, Reason: e.Reason,
			Code: e.Code, Error: firstOf(e.Error, e.Limit),
		})
	}
	return all
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
