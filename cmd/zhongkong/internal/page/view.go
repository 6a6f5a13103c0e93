package page

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// maxCards is how many accounts are shown; the most urgent come first, and a
// search finds the others.
const maxCards = 200

// state is how an account is, the most urgent first.
type state int

const (
	expired state = iota // no usable token, although there was one or a call failed
	failing              // usable, but refreshes fail
	late                 // usable, but a refresh should have been made
	stale                // usable, but the store is away
	waiting              // no token yet, nothing has failed
	fresh
	stateCount
)

// key is the state's word in the languages and its class in the style.
func (s state) key() string {
	return [...]string{"expired", "failing", "late", "stale", "waiting", "fresh"}[s]
}

// lateAfter is how late a refresh has to be before it is worth a word: another
// process may be at it.
const lateAfter = 2 * time.Minute

// card is one account.
type card struct {
	Name       string
	State      state
	Generation coordinator.Fence

	Usable     bool
	Age, Left  time.Duration
	LeftShare  float64 // of the life, in percent
	NextShare  float64 // the same at the next refresh; < 0: not known
	Next       time.Duration
	NextKnown  bool
	IssuedBy   string
	IssuedAt   time.Time
	ExpiresAt  time.Time
	Reader     bool
	CallsToday int
	PerDay     int
	Reserve    int
	CallsShare float64 // percent
	CallsState string  // "", "high", "full"
	Open       int
	Conflicts  int
	Holder     string
	Failure    *failure
	MayRefresh bool
}

// failure is the last call that failed.
type failure struct {
	Code    int
	Message string
	At      time.Time
	InARow  int
	Over    bool // a refresh has succeeded since
}

// view is everything the templates show.
type view struct {
	Language  string
	Viewer    string
	Instance  string
	Version   string
	Now       time.Time
	Connected bool

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

func (p *Page) view(ctx context.Context, r Request, now time.Time) *view {
	c := p.cfg.Coordinator
	v := &view{
		Language: r.Language, Viewer: r.Viewer.Name(), Instance: p.cfg.Instance, Version: p.cfg.Version,
		Now: now, Connected: c.Connected(), Worst: fresh, Search: r.Search, Done: r.Done, Failed: r.Failed,
	}
	search := func(name string) bool {
		return strings.Contains(strings.ToLower(name), strings.ToLower(strings.TrimSpace(r.Search)))
	}
	for _, a := range c.Accounts() {
		if !r.Viewer.May(a.Name()) {
			continue
		}
		one := newCard(a.Status(), now)
		one.MayRefresh = r.Viewer.MayRefresh(one.Name)
		v.Counts[one.State]++
		v.Total++
		v.Worst = min(v.Worst, one.State)
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
	if p.cfg.Coordinator.Connected() {
		if all, ok := p.history.of(ctx, names); ok {
			return all
		}
	}
	return heard(p.cfg.Events, r.Viewer, search)
}

func newCard(s coordinator.Status, now time.Time) card {
	c := card{
		Name: s.Name, Generation: s.Record.Generation, Usable: s.Record.Usable(), Reader: s.Role == coordinator.Reader,
		CallsToday: s.CallsToday, PerDay: s.Limits.PerDay, Reserve: s.Limits.Reserve,
		Open: s.OpenCalls, Conflicts: s.Conflicts, Holder: s.Holder,
	}
	if f := s.Failure; f != nil {
		c.Failure = &failure{Code: f.Code, Message: f.Message, At: f.At, InARow: f.InARow, Over: f.InARow == 0}
	}
	c.countCalls()
	if s.Record.Generation != 0 {
		c.showRecord(s, now)
	}
	c.State = stateOf(s, c)
	return c
}

func (c *card) countCalls() {
	if c.PerDay <= 0 {
		return
	}
	c.CallsShare = min(100*float64(c.CallsToday)/float64(c.PerDay), 100)
	switch {
	case c.CallsToday >= c.PerDay:
		c.CallsState = "full"
	case c.CallsToday >= c.PerDay-c.Reserve:
		c.CallsState = "high"
	}
}

// showRecord fills in what is known of the token. Its age follows from
// durations of the store's clock: this machine's may be wrong.
func (c *card) showRecord(s coordinator.Status, now time.Time) {
	life := s.Record.Life()
	served := life - coordinator.Margin(life)
	c.IssuedBy, c.IssuedAt, c.ExpiresAt = s.Record.IssuedBy, s.Record.IssuedAt, s.Record.ExpiresAt
	c.Left = s.Record.TTL
	c.Age = max(served-s.Record.TTL, 0)
	c.NextShare = -1
	if served > 0 {
		c.LeftShare = 100 * float64(c.Left) / float64(served)
	}
	if s.NextRefresh.IsZero() {
		return
	}
	c.Next, c.NextKnown = s.NextRefresh.Sub(now), true
	if served > 0 && c.Next > 0 && c.Next < c.Left {
		c.NextShare = 100 * float64(c.Left-c.Next) / float64(served)
	}
}

func stateOf(s coordinator.Status, c card) state {
	trouble := c.Failure != nil && !c.Failure.Over
	switch {
	case !c.Usable && (trouble || c.Generation != 0):
		return expired
	case !c.Usable:
		return waiting
	case trouble:
		return failing
	case s.Stale:
		return stale
	case c.NextKnown && c.Next < -lateAfter:
		return late
	}
	return fresh
}
