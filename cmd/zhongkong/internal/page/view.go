package page

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/events"
)

const (
	// roomyUpTo is the largest number of accounts that all have a card. With more,
	// only some of those in trouble have one, and the others a line.
	roomyUpTo = 8
	// maxCards is how many cards there are then, the most urgent first.
	maxCards = 6
	// maxLines is how many lines are shown at first, so that the events below stay
	// within reach, and maxLinesOfAll how many on request: a search finds the others.
	maxLines      = 40
	maxLinesOfAll = 1000
)

type view struct {
	Request
	SignedIn string
	Instance string
	Version  string
	SourceOf func(account string) string
	Outage   *outage // nil: Redis can be used

	Worst  state
	Counts [stateCount]int
	Total  int
	Cards  []card
	Lines  []card
	Hidden int
	Events []event
	One    *account // its page; nil: the list

	Confirm *card
}

// outage describes that Redis cannot be used.
type outage struct {
	cause
	Since  time.Time // zero: not known
	Served bool      // tokens in memory still are
}

func (p *Page) view(ctx context.Context, r Request, now time.Time) *view {
	v := &view{
		Request: r, SignedIn: r.Viewer.Name(), Instance: p.cfg.Instance, Version: p.cfg.Version, SourceOf: p.cfg.Source, Worst: fresh,
	}
	storeErr := p.store.err()
	v.Outage = p.outage(storeErr)
	ctx, cancel := context.WithTimeout(ctx, historyPatience) // for all logs together
	defer cancel()
	logs := p.history.lookups()
	var found []card
	known := false
	all := p.store.statuses()
	tokenless := map[string]bool{}
	for _, s := range all {
		if !s.Record.Usable() {
			tokenless[s.Name] = true
		}
	}
	for _, s := range all {
		if !r.Viewer.May(s.Name) || r.Account != "" && s.Name != r.Account {
			continue
		}
		one := newCard(s, logs.past(ctx, s), storeErr, now)
		one.Unattended = one.Unattended && !tokenless[s.Parent] // it is the parent that is
		one.Label, one.Source = plain(p.cfg.Label(one.Name)), p.cfg.Source(one.Name)
		one.MayRefresh = r.Viewer.MayRefresh(one.Name) && v.Outage == nil && !one.Unattended
		v.Counts[one.State]++
		v.Total++
		v.Worst = min(v.Worst, one.State)
		known = known || one.Name == r.Done
		if v.Outage != nil && one.Usable {
			v.Outage.Served = true
		}
		if one.Name == r.Confirm && one.MayRefresh {
			v.Confirm = &one
		}
		if r.shows(one) {
			found = append(found, one)
		}
	}
	if !known { // anyone may have written the link
		v.Done = ""
	}
	if r.Account != "" {
		if len(found) > 0 {
			v.One = p.account(ctx, found[0], r.All, now)
			v.One.Readers = p.cfg.Readers(r.Viewer, r.Account)
		}
		return v
	}
	slices.SortStableFunc(found, func(a, b card) int {
		return cmp.Or(cmp.Compare(a.State, b.State), lessLeft(a, b), cmp.Compare(a.Name, b.Name))
	})
	v.layOut(found)
	v.Events = p.timeline(ctx, r, found)
	return v
}

func (r Request) shows(c card) bool {
	search := strings.ToLower(strings.TrimSpace(r.Search))
	return (r.State == "" || r.State == c.State.key()) &&
		(strings.Contains(strings.ToLower(c.Name), search) || strings.Contains(strings.ToLower(c.Label), search))
}

func (v *view) layOut(found []card) {
	if len(found) <= roomyUpTo {
		v.Cards = found
		return
	}
	urgent := 0
	for urgent < maxCards && found[urgent].State < waiting {
		urgent++
	}
	v.Cards, v.Lines = found[:urgent], found[urgent:]
	most := maxLines
	if v.All {
		most = maxLinesOfAll
	}
	if len(v.Lines) > most {
		v.Hidden = len(v.Lines) - most
		v.Lines = v.Lines[:most]
	}
}

// outage returns why Redis cannot be used, nil if it can.
func (p *Page) outage(err error) *outage {
	connected := p.store.connected()
	last := p.cfg.Events.Recent(1, func(e *events.Entry) bool { return e.Type == events.Connected || e.Type == events.Disconnected })
	o := &outage{}
	if len(last) > 0 && last[0].Type == events.Disconnected {
		o.Since = last[0].Time.Time
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

// lessLeft sorts accounts in trouble by the time left. The others keep the order of
// their names, so that they do not move about.
func lessLeft(a, b card) int {
	if a.State > late {
		return 0
	}
	return cmp.Compare(a.Left, b.Left)
}

func (p *Page) timeline(ctx context.Context, r Request, shown []card) []event {
	names := make(map[string]bool, len(shown))
	for _, c := range shown {
		names[c.Name] = true
	}
	if p.store.connected() {
		if all, ok := p.history.merged(ctx, shown); ok {
			return all
		}
	}
	whole := r.Search == "" && r.State == ""
	return heard(p.cfg.Events, func(account string) bool { return account == "" && whole || names[account] })
}
