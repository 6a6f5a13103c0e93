package wire

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Account is the state of an account, without its token, as status --json and
// GET /v1/accounts give it.
type Account struct {
	Name        string            `json:"name"`
	Label       string            `json:"label,omitempty"` // for people
	Generation  coordinator.Fence `json:"generation"`
	IssuedAt    Time              `json:"issued_at,omitzero"`
	IssuedBy    string            `json:"issued_by,omitempty"`
	AgeSeconds  float64           `json:"age_seconds"`
	TTLSeconds  float64           `json:"ttl_seconds"` // 0: there is no usable token
	Attributes  map[string]string `json:"attributes,omitempty"`
	Repeated    bool              `json:"repeated,omitempty"` // the issuer has only repeated the token that was to be replaced
	Stale       bool              `json:"stale,omitempty"`    // from memory, and Redis cannot be reached: it may have changed
	NextRefresh Time              `json:"next_refresh,omitzero"`
	LockHolder  string            `json:"lock_holder,omitempty"`
	CallsToday  int               `json:"calls_today"`
	CallsPerDay int               `json:"calls_per_day"`
	CallsWindow float64           `json:"calls_window_seconds,omitempty"` // in which calls_per_day are allowed and calls_today were made; 0: a day
	Open        int               `json:"open_attempts"`
	Overdue     *int              `json:"overdue_attempts,omitempty"` // nil: not known, see NewAccountFromMemory
	Conflicts   int               `json:"conflicts"`
	LastError   *Failure          `json:"last_error,omitempty"`
	Error       string            `json:"error,omitempty"`        // why the data in Redis cannot be used
	Parent      string            `json:"parent,omitempty"`       // the account whose token the source needs
	Grant       *Grant            `json:"grant,omitempty"`        // absent: it needs none and has none
	ParentError string            `json:"parent_error,omitempty"` // why that account has no token; absent if it has one, or that is not known
	Readers     []Reader          `json:"readers,omitempty"`      // whom this process has given the token; only for callers of all accounts
}

// Reader is a caller who was given an account's token.
type Reader struct {
	Caller   string `json:"caller"`
	Reads    uint64 `json:"reads"` // since the process started
	LastRead Time   `json:"last_read"`
}

// Failure is the last failure of an account.
type Failure struct {
	Kind    coordinator.FailureKind `json:"kind"`
	Code    coordinator.Code        `json:"code"` // the issuer's
	Message string                  `json:"message"`
	At      Time                    `json:"at"`
	InARow  int                     `json:"in_a_row"`          // 0: a refresh has succeeded since
	RetryAt Time                    `json:"retry_at,omitzero"` // no scheduled refresh comes before
}

// window returns Account.CallsWindow.
func window(l coordinator.Limits) float64 {
	if l.Budget() == coordinator.LimitBudget {
		return 0
	}
	return seconds(l.Window)
}

// NewAccount returns the form of a state that was read from the store. refreshEvery
// is the account's refresh interval, limits has its budget of calls.
func NewAccount(s coordinator.State, refreshEvery time.Duration, limits coordinator.Limits) Account {
	a := newAccount(coordinator.Status{
		Name: s.Account, Record: s.Record, NextRefresh: s.NextRefresh(refreshEvery), Failure: s.Failure,
		CallsToday: s.CallsToday, Limits: limits, Conflicts: s.Conflicts,
		OpenAttempts: len(s.Open), Holder: s.Holder, Err: s.Err,
	}, s.Now)
	a.Grant = NewGrant(s.Grant, s.Now)
	overdue := s.Overdue()
	a.Overdue = &overdue
	return a
}

// NewAccountFromMemory returns the form of what a process knows of an account. now
// is this machine's clock when s was made. Only a reading of the store shows which
// attempts are overdue. Without a usable token there is a NextRefresh only if a
// back-off delays the refresh.
func NewAccountFromMemory(s coordinator.Status, now time.Time) Account {
	storeNow, next := time.Time{}, time.Time{}
	switch {
	case s.Record.Usable():
		// By the store's clock, as every instant here: this machine's may be wrong.
		storeNow = s.Record.IssuedAt.Add(s.Record.Age())
		next = storeNow.Add(s.NextRefresh.Sub(now))
	case s.Failure != nil && s.RetryAt.After(now):
		next = s.Failure.RetryAt
	}
	s.NextRefresh = next
	a := newAccount(s, storeNow)
	a.Grant = NewGrantFromMemory(s.Grant)
	if !s.LastRead && s.Record.Generation == 0 {
		a.Error = "Redis has not been read yet"
	}
	return a
}

// newAccount returns the form of s, whose instants are all of the store's clock,
// which shows now.
func newAccount(s coordinator.Status, now time.Time) Account {
	r := s.Record
	a := Account{
		Name:        s.Name,
		Generation:  r.Generation,
		Stale:       s.Stale,
		NextRefresh: Time{s.NextRefresh},
		LockHolder:  s.Holder,
		CallsToday:  s.CallsToday,
		CallsPerDay: s.Limits.PerDay,
		CallsWindow: window(s.Limits),
		Open:        s.OpenAttempts,
		Conflicts:   s.Conflicts,
	}
	if r.Usable() {
		a.IssuedAt, a.IssuedBy = Time{r.IssuedAt}, r.IssuedBy
		a.Attributes, a.Repeated = r.Attributes, r.Repeated
		a.AgeSeconds, a.TTLSeconds = seconds(now.Sub(r.IssuedAt)), seconds(r.TTL)
	}
	if s.Err != nil {
		a.Error = s.Err.Error()
	}
	if a.Parent = s.Parent; s.Blocked != nil {
		a.ParentError = s.Blocked.Cause.Error()
	}
	if f := s.Failure; f != nil {
		a.LastError = &Failure{Kind: f.Kind, Code: f.Code, Message: f.Message, At: Time{f.At}, InARow: f.InARow}
		if f.InARow > 0 {
			a.LastError.RetryAt = Time{f.RetryAt}
		}
	}
	return a
}
