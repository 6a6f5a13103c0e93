package wire

import (
	"cmp"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Event is one event: a line of watch --json, the data of an event of GET
// /v1/events. Members that do not apply are absent.
type Event struct {
	Time           Time                    `json:"time"` // when this process received it
	Type           string                  `json:"event"`
	Account        string                  `json:"account,omitempty"` // absent: it concerns the store
	By             string                  `json:"by,omitempty"`      // an instance
	Reason         coordinator.Reason      `json:"reason,omitempty"`
	Fence          coordinator.Fence       `json:"fence,omitempty"`
	Generation     coordinator.Fence       `json:"generation,omitempty"`
	TTLSeconds     float64                 `json:"ttl_seconds,omitempty"`
	Attributes     map[string]string       `json:"attributes,omitempty"` // of the token
	Repeated       bool                    `json:"repeated,omitempty"`   // as in Account
	Kind           coordinator.FailureKind `json:"kind,omitempty"`
	Code           coordinator.Code        `json:"code,omitempty"` // the issuer's
	Error          string                  `json:"error,omitempty"`
	Limit          coordinator.Limit       `json:"limit,omitempty"`
	RetryInSeconds float64                 `json:"retry_in_seconds,omitempty"`

	Grant coordinator.GrantCondition `json:"grant,omitempty"` // of the account, of an event about it
}

// NewEvent returns the form of an event that was received at the given time.
func NewEvent(e coordinator.Event, at time.Time) Event {
	w := Event{
		Time: Time{at.UTC().Truncate(time.Millisecond)}, Type: string(e.Kind), Account: e.Account,
		By: cmp.Or(e.By, e.Record.IssuedBy), Reason: e.Reason,
		Fence: e.Fence, Generation: e.Record.Generation, TTLSeconds: seconds(e.Record.TTL),
		Attributes: e.Record.Attributes, Repeated: e.Record.Repeated,
		Limit: e.Limit, RetryInSeconds: seconds(e.RetryIn),
	}
	if f := e.Failure; f != nil {
		w.Kind, w.Code, w.Error = f.Kind, f.Code, f.Message
	}
	if e.Grant != nil {
		w.Grant = e.Grant.Condition
	}
	if e.Kind == coordinator.EventWanted {
		w.Reason = e.Want.Reason
	}
	return w
}
