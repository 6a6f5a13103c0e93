package wire

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Account is the state of an account, without its token, as status --json prints
// it.
type Account struct {
	Name        string            `json:"name"`
	Label       string            `json:"label,omitempty"` // for people
	Generation  coordinator.Fence `json:"generation"`
	IssuedAt    Time              `json:"issued_at,omitzero"`
	IssuedBy    string            `json:"issued_by,omitempty"`
	AgeSeconds  float64           `json:"age_seconds"`
	TTLSeconds  float64           `json:"ttl_seconds"` // 0: there is no usable token
	NextRefresh Time              `json:"next_refresh,omitzero"`
	LockHolder  string            `json:"lock_holder,omitempty"`
	CallsToday  int               `json:"calls_today"`
	CallsPerDay int               `json:"calls_per_day"`
	Open        int               `json:"open_attempts"`
	Overdue     int               `json:"overdue_attempts"`
	Conflicts   int               `json:"conflicts"`
	LastError   *Failure          `json:"last_error,omitempty"`
	Error       string            `json:"error,omitempty"` // why the data in Redis cannot be used
}

// Failure is the last failure of an account.
type Failure struct {
	Kind    coordinator.FailureKind `json:"kind"`
	Code    int                     `json:"code"` // the issuer's
	Message string                  `json:"message"`
	At      Time                    `json:"at"`
	InARow  int                     `json:"in_a_row"`          // 0: a refresh has succeeded since
	RetryAt Time                    `json:"retry_at,omitzero"` // no scheduled refresh comes before
}

// NewAccount returns the form of a state. refreshEvery is the account's refresh
// interval, callsPerDay its budget of calls.
func NewAccount(s coordinator.State, refreshEvery time.Duration, callsPerDay int) Account {
	r := s.Record
	a := Account{
		Name:        s.Account,
		Generation:  r.Generation,
		NextRefresh: Time{s.NextRefresh(refreshEvery)},
		LockHolder:  s.Holder,
		CallsToday:  s.CallsToday,
		CallsPerDay: callsPerDay,
		Open:        len(s.Open),
		Overdue:     s.Overdue(),
		Conflicts:   s.Conflicts,
	}
	if r.Usable() {
		a.IssuedAt, a.IssuedBy = Time{r.IssuedAt}, r.IssuedBy
		a.AgeSeconds, a.TTLSeconds = seconds(s.Now.Sub(r.IssuedAt)), seconds(r.TTL)
	}
	if s.Err != nil {
		a.Error = s.Err.Error()
	}
	if f := s.Failure; f != nil {
		a.LastError = &Failure{Kind: f.Kind, Code: f.Code, Message: f.Message, At: Time{f.At}, InARow: f.InARow}
		if f.InARow > 0 {
			a.LastError.RetryAt = Time{f.RetryAt}
		}
	}
	return a
}
