package page

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

const (
	// timelineLength is how many events the page shows.
	timelineLength = 30
	// historyFor is the largest number of accounts whose logs are read. With more,
	// the page shows the events that this process received.
	historyFor = 20
	// historyLife is how long a log that was read is used again: every open page is
	// rendered again at each event.
	historyLife = time.Second
	// historyPatience is how long the page waits for the logs.
	historyPatience = 500 * time.Millisecond
)

// pastEvents reads the logs of accounts and caches them for historyLife.
type pastEvents struct {
	from History // nil: there are no logs
	hub  *events.Hub

	mu        sync.Mutex // guards what follows
	all       map[depth]pastLog
	conflicts map[string]pastConflict
}

// pastConflict is when the last of count conflicts was seen. It is searched for again
// when there are more.
type pastConflict struct {
	count int
	at    time.Time // zero: before the log begins
}

// depth names n entries of an account's log.
type depth struct {
	account string
	n       int
}

type pastLog struct {
	at     time.Time
	events []event
}

func newPastEvents(from History, hub *events.Hub) *pastEvents {
	return &pastEvents{from: from, hub: hub, all: make(map[depth]pastLog), conflicts: make(map[string]pastConflict)}
}

// lookups reads logs for one rendering of the page, for a bounded number of accounts. A
// later rendering reads the others.
type lookups struct {
	*pastEvents
	conflictsLeft, failuresLeft int
}

func (p *pastEvents) lookups() *lookups { return &lookups{p, historyFor, historyFor} }

// past returns what the account's log adds to its status, where that is used and can be
// read.
func (l *lookups) past(ctx context.Context, s coordinator.Status) past {
	var was past
	if s.Conflicts > 0 {
		was.lastConflict = l.lastConflict(ctx, s.Name, s.Conflicts)
	}
	if s.Failure != nil && s.Failure.InARow > 0 && l.may(ctx, &l.failuresLeft) {
		if log, err := l.read(ctx, depth{s.Name, timelineLength}); err == nil {
			was.failingSince = failingSince(log)
		}
	}
	return was
}

// may reports whether one more log may be read, and counts it.
func (l *lookups) may(ctx context.Context, left *int) bool {
	*left--
	return l.from != nil && *left >= 0 && ctx.Err() == nil
}

// lastConflict returns when the last of count conflicts was seen, zero if it is not
// known.
func (l *lookups) lastConflict(ctx context.Context, account string, count int) time.Time {
	l.mu.Lock()
	known, ok := l.conflicts[account]
	l.mu.Unlock()
	if ok && known.count == count || !l.may(ctx, &l.conflictsLeft) {
		return known.at
	}
	log, err := l.from.History(ctx, account, redisadmin.WholeLog)
	if err != nil {
		return known.at
	}
	found := pastConflict{count: count}
	for _, e := range log { // the newest first
		if e.Event == "conflict" {
			found.at = e.At
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conflicts[account] = found
	return found.at
}

// failingSince returns the time of the first failure after the last success, as far as
// the log goes back.
func failingSince(log []event) time.Time {
	var since time.Time
	for _, e := range log { // the newest first
		switch e.Event {
		case "refreshed":
			return since
		case "failed":
			since = e.At
		}
	}
	return since
}

// merged returns the last events of the accounts, false if they cannot be read.
func (p *pastEvents) merged(ctx context.Context, accounts []card) ([]event, bool) {
	if len(accounts) > historyFor {
		return nil, false
	}
	var merged []event
	for _, c := range accounts {
		got, err := p.read(ctx, depth{c.Name, timelineLength})
		if err != nil {
			return nil, false
		}
		merged = append(merged, got...)
	}
	slices.SortStableFunc(merged, func(a, b event) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
	return merged[:min(len(merged), timelineLength)], true
}

var errNoLogs = errors.New("page: there are no logs")

// read returns the last entries of an account's log, the newest first.
func (p *pastEvents) read(ctx context.Context, d depth) ([]event, error) {
	if p.from == nil {
		return nil, errNoLogs
	}
	p.mu.Lock()
	log, ok := p.all[d]
	p.mu.Unlock()
	if ok && time.Since(log.at) < historyLife && !p.heardSince(d.account, log.at) {
		return log.events, nil
	}
	began := time.Now()
	got, err := p.from.History(ctx, d.account, d.n)
	if err != nil {
		return nil, err
	}
	read := make([]event, 0, len(got))
	for _, e := range got {
		e.By, e.AskedBy, e.Error = plain(e.By), plain(e.AskedBy), plain(e.Error)
		read = append(read, event{Entry: e, Account: d.account})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) > 10*historyFor {
		clear(p.all)
	}
	p.all[d] = pastLog{began, read}
	return read, nil
}

func (p *pastEvents) heardSince(account string, t time.Time) bool {
	newest := p.hub.Recent(1, func(e *events.Entry) bool { return e.Account == account })
	return len(newest) > 0 && !newest[0].Time.Before(t.Truncate(time.Millisecond))
}

// heard returns the events that this process received about the wanted accounts; the
// account "" stands for the store.
func heard(hub *events.Hub, wanted func(account string) bool) []event {
	recent := hub.Recent(timelineLength, func(e *events.Entry) bool {
		if e.Type == string(coordinator.EventBegun) {
			return false // the account shows that it is being refreshed
		}
		return wanted(e.Account)
	})
	var all []event
	for _, e := range recent {
		entry := redisadmin.Entry{
			At: e.Time.Time, Event: e.Type, By: plain(e.By), Reason: e.Reason, Code: e.Code, Error: plain(e.Error),
		}
		all = append(all, event{Entry: entry, Account: e.Account, Limit: string(e.Limit)})
	}
	return all
}
