package ledger

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Account is what a store keeps of one account. The zero Account is one that the
// store has never seen. It is not safe for concurrent use.
//
// Every method forgets first what has ended by the time of the step: the record
// and the lock.
type Account struct{ state state }

// state has exported fields for package json; it hides inside of Account, so that
// nothing encodes an Account by mistake, with the token in it.
type state struct {
	Record   record                          `json:"record,omitzero"`
	Fence    coordinator.Fence               `json:"fence,omitempty"` // the newest that was handed out
	Open     map[coordinator.Fence]time.Time `json:"open,omitempty"`  // attempts that are not settled, and their deadlines
	Lock     lock                            `json:"lock,omitzero"`
	Failure  failure                         `json:"failure,omitzero"`
	Demanded time.Time                       `json:"demanded_at,omitzero"` // the last begin that was demanded
	Paced    time.Time                       `json:"paced_until,omitzero"` // until when BeginRequest.Pace is used up
	Conflict int                             `json:"conflicts,omitempty"`
	Calls    map[string]int                  `json:"calls,omitempty"` // by WeChat's day
	Window   window                          `json:"window,omitzero"` // what limits count whose windows are not these days
}

// window is a window of calls. Its Ends is zero if the account has none of its own.
type window struct {
	Ends  time.Time `json:"ends"`
	Calls int       `json:"calls"`
}

// record is the current token. Its Generation is 0 if there is none.
type record struct {
	Token      plain             `json:"token"`
	Generation coordinator.Fence `json:"generation"`
	IssuedAt   time.Time         `json:"issued_at"`
	ExpiresAt  time.Time         `json:"expires_at"`
	RefreshAt  time.Time         `json:"refresh_at,omitzero"`
	IssuedBy   string            `json:"issued_by"`
	End        time.Time         `json:"end"` // the record is withdrawn
	Attributes map[string]string `json:"attributes,omitempty"`
	Repeated   bool              `json:"repeated,omitempty"`
}

// plain is a token that is encoded as it is.
type plain struct{ coordinator.Token }

// Clone returns a copy that shares nothing with a.
func (a *Account) Clone() Account {
	c := *a
	c.state.Open, c.state.Calls = maps.Clone(a.state.Open), maps.Clone(a.state.Calls)
	return c
}

// MarshalText returns the token's characters.
func (p plain) MarshalText() ([]byte, error) { return []byte(p.Reveal()), nil }

// UnmarshalText is the reverse of MarshalText.
func (p *plain) UnmarshalText(text []byte) error {
	p.Token = coordinator.NewToken(string(text))
	return nil
}

// MarshalBinary encodes all of the account, as JSON. The token is in it as it is:
// a store that seals tokens seals what MarshalBinary returns.
func (a *Account) MarshalBinary() ([]byte, error) { return json.Marshal(a.state) }

// UnmarshalBinary sets the account to what MarshalBinary has encoded.
func (a *Account) UnmarshalBinary(data []byte) error {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return errors.New("ledger: not an account as MarshalBinary encodes it") // the cause may quote the token
	}
	a.state = s
	return nil
}

// Step says on which account a step is made, by which instance, and when.
type Step struct {
	Account  string
	Instance string
	Now      time.Time // by the store's clock, in which fences are counted: to the microsecond
}

// enter begins a step: it forgets what has ended. The instants of the protocol
// have milliseconds.
func (a *Account) enter(s Step) (now time.Time) {
	now = s.Now.UTC().Truncate(time.Millisecond)
	if !now.Before(a.state.Record.End) {
		a.state.Record = record{}
	}
	if !now.Before(a.state.Lock.End) {
		a.state.Lock = lock{}
	}
	return now
}

// credible returns f, or 0 if f orders nothing.
func (s Step) credible(f coordinator.Fence) coordinator.Fence {
	if !f.Credible(s.Now) {
		return 0
	}
	return f
}

// event returns an event that the step causes.
func (s Step) event(kind coordinator.EventKind, reason coordinator.Reason, fence coordinator.Fence) *coordinator.Event {
	return &coordinator.Event{Kind: kind, Account: s.Account, By: s.Instance, Reason: reason, Fence: fence}
}

// Want returns the event of [coordinator.Store].Want, which changes no account.
func (s Step) Want(w coordinator.WantRequest) *coordinator.Event {
	e := s.event(coordinator.EventWanted, w.Reason, 0)
	e.Want = w
	return e
}

// errAhead is State.Err for a record of before the clock went back by more than
// MaxFenceAhead.
var errAhead = errors.New("the record's generation lies more than a day ahead of the store's clock; the next refresh replaces it")

// current returns the record, the zero Record if there is none that can be used.
func (a *Account) current(s Step, now time.Time) coordinator.Record {
	r := a.state.Record
	if s.credible(r.Generation) == 0 {
		return coordinator.Record{}
	}
	return coordinator.Record{
		Token: r.Token.Token, Generation: r.Generation, IssuedAt: r.IssuedAt, ExpiresAt: r.ExpiresAt,
		RefreshAt: r.RefreshAt, IssuedBy: r.IssuedBy, Attributes: r.Attributes, Repeated: r.Repeated, TTL: r.End.Sub(now),
	}
}

// State returns what Load returns of the account.
func (a *Account) State(s Step) coordinator.State {
	now := a.enter(s)
	loaded := coordinator.State{
		Account:    s.Account,
		Now:        now,
		Record:     a.current(s, now),
		Fence:      s.credible(a.state.Fence),
		Failure:    a.state.Failure.shared(),
		CallsToday: a.calls(now),
		Conflicts:  a.state.Conflict,
	}
	if s.credible(a.state.Record.Generation) != a.state.Record.Generation {
		loaded.Err = errAhead
	}
	for _, deadline := range a.state.Open {
		loaded.Open = append(loaded.Open, deadline)
	}
	slices.SortFunc(loaded.Open, time.Time.Compare)
	if l := a.state.Lock; l.ID != "" {
		loaded.Holder, loaded.HolderTTL = l.Holder, l.End.Sub(now)
	}
	return loaded
}

// Lift makes every fence from now on newer than f, as the step of
// [coordinator.GrantStore].SaveGrant does with a grant's unless its tokens are pushed.
func (a *Account) Lift(s Step, f coordinator.Fence) {
	a.enter(s)
	a.state.Fence = max(s.credible(a.state.Fence), s.credible(f))
}

// open announces an attempt, or moves its deadline.
func (a *Account) open(fence coordinator.Fence, deadline time.Time) {
	if a.state.Open == nil {
		a.state.Open = make(map[coordinator.Fence]time.Time)
	}
	a.state.Open[fence] = deadline
}

// calls returns the calls in the window of the account's limits.
func (a *Account) calls(now time.Time) int {
	switch w := a.state.Window; {
	case w.Ends.IsZero():
		return a.state.Calls[day(now)]
	case now.Before(w.Ends):
		return w.Calls
	}
	return 0
}

// windowFor returns the window that a begin with these limits counts in. One that ends
// further ahead than it can was counted before the clock went back, or is of other
// limits.
func (a *Account) windowFor(l coordinator.Limits, now time.Time) window {
	length, before := l.Windows()
	if w := a.state.Window; !l.WeChatDays() && w.Ends.After(now) && w.Ends.Sub(now) <= length {
		return w
	}
	since := time.Duration(now.UnixMilli())*time.Millisecond + before
	w := window{Ends: now.Add(length - since%length)}
	if l.WeChatDays() {
		w.Calls = a.state.Calls[day(now)]
	}
	return w
}

// count adds calls to those of the day, which never are fewer than none, and to those
// of the account's own window. Counts of past days are kept for a while: the clock may
// go back.
func (a *Account) count(now time.Time, calls int) {
	const keepDays = 3
	if a.state.Calls == nil {
		a.state.Calls = make(map[string]int)
	}
	for d := range a.state.Calls {
		if d < day(now.AddDate(0, 0, -keepDays)) {
			delete(a.state.Calls, d)
		}
	}
	a.state.Calls[day(now)] = max(0, a.state.Calls[day(now)]+calls)
	if w := &a.state.Window; now.Before(w.Ends) {
		w.Calls = max(0, w.Calls+calls)
	}
}

// day names WeChat's day, which begins at midnight in UTC+8.
func day(now time.Time) string { return now.Add(8 * time.Hour).Format("20060102") }
