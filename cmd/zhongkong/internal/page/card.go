package page

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

type card struct {
	Name       string
	Label      string // for people; "": none
	Source     string // see Config.Source
	State      state
	Generation coordinator.Fence

	Known        bool // the store was read, or a token was received
	Usable       bool
	Age, Left    time.Duration
	IssuedAt     time.Time // by the store's clock
	ExpiresAt    time.Time
	LeftShare    float64 // of the lifetime, in percent
	NextShare    float64 // LeftShare at the next refresh; < 0: not known
	Next         time.Duration
	NextKnown    bool
	NextTooLate  bool // it comes after the end of the token
	IssuedBy     string
	Attributes   []attribute
	Repeated     bool   // see coordinator.Record
	Parent       string // the account whose token the source needs; "": it needs none
	Lacks        string // why the parent has no token, besides that it has none
	Blocked      bool   // the parent has none
	Reader       bool
	Unattended   bool // see the function
	CallsToday   int
	PerDay       int           // 0: not known
	CallsShare   float64       // percent
	CallsState   string        // "", "high", "full"
	CallsWindow  time.Duration // in which PerDay calls are allowed; 0: a day
	WeChatDays   bool          // the day begins at midnight in UTC+8
	Open         int
	Holder       string
	Conflicts    int
	LastConflict time.Time // zero: not known
	Conflicting  bool      // conflicts go on
	Grant        *grant    // nil: it needs none and has none
	Unreadable   *cause
	Failure      *failure
	MayRefresh   bool
}

// attribute is something that a token's readers get with it.
type attribute struct{ Name, Value string }

type failure struct {
	Kind    coordinator.FailureKind
	Code    coordinator.Code
	Message string
	At      time.Time
	Since   time.Time // of the first in a row; zero: not known
	InARow  int
	Retry   time.Duration // until the next attempt; 0: it may come at any moment
	Over    bool          // a refresh has succeeded since
}

// past is what the account's log adds to its status.
type past struct {
	lastConflict time.Time
	failingSince time.Time
}

func newCard(s coordinator.Status, was past, storeErr error, now time.Time) card {
	c := card{
		Name: s.Name, Generation: s.Record.Generation, Usable: s.Record.Usable(), Reader: s.Role == coordinator.Reader,
		Known:      s.LastRead || s.Record.Generation != 0,
		CallsToday: s.CallsToday,
		Open:       s.OpenAttempts, Holder: plain(s.Holder), Conflicts: s.Conflicts, LastConflict: was.lastConflict,
	}
	c.Conflicting = !c.LastConflict.IsZero() && now.Sub(c.LastConflict) < ConflictFor
	if s.Err != nil {
		c.Unreadable = recordCause(s.Err)
	}
	if f := s.Failure; f != nil {
		c.Failure = &failure{Kind: f.Kind, Code: f.Code, Message: plain(f.Message), At: f.At, Since: was.failingSince, InARow: f.InARow, Over: f.InARow == 0}
		if !s.RetryAt.IsZero() {
			c.Failure.Retry = max(s.RetryAt.Sub(now), 0)
		}
	}
	if c.Parent = plain(s.Parent); s.Blocked != nil {
		c.Blocked = true
		if !errors.Is(s.Blocked.Cause, coordinator.ErrNoToken) {
			c.Lacks = plain(s.Blocked.Cause.Error())
		}
	}
	storeNow := now
	if s.Record.Generation != 0 {
		storeNow = s.Record.IssuedAt.Add(s.Record.Age())
	}
	c.Grant = newGrant(s.Grant, storeNow)
	if !c.Reader { // a reader does not know what the source declares
		c.countCalls(s.Limits)
	}
	if s.Record.Generation != 0 {
		c.showRecord(s, now)
	}
	c.State = stateOf(s, c, storeErr)
	if c.Grant.tells(c.Failure) {
		c.Failure = nil
	}
	c.Unattended = Unattended(s, storeErr, now)
	return c
}

func (c *card) countCalls(limits coordinator.Limits) {
	c.PerDay = limits.PerDay
	if c.WeChatDays = limits.WeChatDays(); limits.Budget() == coordinator.LimitWindow {
		c.CallsWindow = limits.Window
	}
	if c.PerDay <= 0 {
		return
	}
	c.CallsShare = min(100*float64(c.CallsToday)/float64(c.PerDay), 100)
	switch {
	case c.CallsToday >= c.PerDay:
		c.CallsState = "full"
	case c.CallsToday >= c.PerDay-limits.Reserve:
		c.CallsState = "high"
	}
}

// showRecord fills in the token's fields. Ages follow from durations of the store's
// clock, because this machine's clock may be wrong.
func (c *card) showRecord(s coordinator.Status, now time.Time) {
	life := s.Record.Lifetime()
	served := life - coordinator.Margin(life)
	c.IssuedBy, c.Repeated = plain(s.Record.IssuedBy), s.Record.Repeated
	for _, name := range slices.Sorted(maps.Keys(s.Record.Attributes)) {
		c.Attributes = append(c.Attributes, attribute{plain(name), plain(s.Record.Attributes[name])})
	}
	c.IssuedAt, c.ExpiresAt = s.Record.IssuedAt, s.Record.ExpiresAt
	c.Left = s.Record.TTL
	c.Age = max(s.Record.Age(), 0)
	c.NextShare = -1
	if served > 0 {
		c.LeftShare = 100 * float64(c.Left) / float64(served)
	}
	if s.NextRefresh.IsZero() {
		return
	}
	c.Next, c.NextKnown = s.NextRefresh.Sub(now), true
	c.NextTooLate = c.Usable && c.Next > c.Left
	if served > 0 && c.Next > 0 && c.Next < c.Left {
		c.NextShare = 100 * float64(c.Left-c.Next) / float64(served)
	}
}
