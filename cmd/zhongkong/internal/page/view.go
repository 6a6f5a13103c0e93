package page

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
)

// maxCards is how many accounts are shown; the most urgent come first, and a
// search finds the others.
const maxCards = 200

// view is everything the templates show.
type view struct {
	Language string
	Viewer   string
	Instance string
	Version  string
	Outage   *outage // nil: Redis can be used

	Worst  state
	Counts [stateCount]int
	Total  int
	Cards  []card
	Hidden int
	Events []Event
	Search string

	Confirm *card
	Done    string
	Failed  string
}

// outage is that Redis cannot be used.
type outage struct {
	cause
	Since  time.Time // zero: not known
	Served bool      // tokens in memory still are
}

func (p *Page) view(ctx context.Context, r Request, now time.Time) *view {
	v := &view{
		Language: r.Language, Viewer: r.Viewer.Name(), Instance: p.cfg.Instance, Version: p.cfg.Version,
		Worst: fresh, Search: r.Search, Done: r.Done, Failed: r.Failed,
	}
	search := func(name string) bool {
		return strings.Contains(strings.ToLower(name), strings.ToLower(strings.TrimSpace(r.Search)))
	}
	storeErr := p.store.err()
	v.Outage = p.outage(storeErr)
	ctx, cancel := context.WithTimeout(ctx, historyPatience) // for all logs together
	defer cancel()
	logs := p.history.lookups()
	for _, s := range p.store.statuses() {
		if !r.Viewer.May(s.Name) {
			continue
		}
		one := newCard(s, logs.past(ctx, s), storeErr, now)
		one.MayRefresh = r.Viewer.MayRefresh(one.Name) && v.Outage == nil && !one.Unattended
		v.Counts[one.State]++
		v.Total++
		v.Worst = min(v.Worst, one.State)
		if v.Outage != nil && one.Usable {
			v.Outage.Served = true
		}
		if one.Name == r.Confirm && one.MayRefresh {
			v.Confirm = &one
		}
		if search(one.Name) {
			v.Cards = append(v.Cards, one)
		}
	}
	slices.SortStableFunc(v.Cards, func(a, b card) int {
		return cmp.Or(cmp.Compare(a.State, b.State), lessLeft(a, b), cmp.Compare(a.Name, b.Name))
	})
	if len(v.Cards) > maxCards {
		v.Hidden = len(v.Cards) - maxCards
		v.Cards = v.Cards[:maxCards]
	}
	v.Events = p.timeline(ctx, r, v.Cards, search)
	return v
}

// outage returns what is wrong with Redis, nil if nothing is.
func (p *Page) outage(err error) *outage {
	connected := p.store.connected()
	last := p.cfg.Events.Recent(1, func(e *events.Entry) bool { return e.Event == events.Connected || e.Event == events.Disconnected })
	o := &outage{}
	if len(last) > 0 && last[0].Event == events.Disconnected {
		o.Since = last[0].Time
	}
	switch {
	case err != nil:
		o.cause = storeCause(err)
	case connected:
		return nil
	case len(last) == 0:
		o.cause = cause{"store.connecting", ""}
	default:
		o.cause = cause{"store.away", ""}
	}
	return o
}

// lessLeft puts those first that are in trouble and have less time left. The
// others stay in the order of their names: they must not jump about.
func lessLeft(a, b card) int {
	if a.State > late {
		return 0
	}
	return cmp.Compare(a.Left, b.Left)
}

func (p *Page) timeline(ctx context.Context, r Request, cards []card, search func(string) bool) []Event {
	var names []string
	for _, c := range cards {
		names = append(names, c.Name)
	}
	if p.store.connected() {
		if all, ok := p.history.merged(ctx, names); ok {
			return all
		}
	}
	return heard(p.cfg.Events, r.Viewer, search)
}
