package events

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Entry is one event as it is told to people and scripts. It has no token.
// Entries are never changed.
type Entry struct {
	Time       time.Time         `json:"time"` // when this process heard of it
	Event      string            `json:"event"`
	Account    string            `json:"account,omitempty"` // "": it concerns the store
	By         string            `json:"by,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Fence      coordinator.Fence `json:"fence,omitempty"`
	Generation coordinator.Fence `json:"generation,omitempty"`
	TTL        float64           `json:"ttl_seconds,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Code       int               `json:"code,omitempty"`
	Error      string            `json:"error,omitempty"`
	Limit      string            `json:"limit,omitempty"`
	RetryIn    float64           `json:"retry_in_seconds,omitempty"`

	once    sync.Once // guards encoded
	encoded []byte
}

// The events that concern the store as a whole, beside coordinator.EventKind's.
const (
	Connected    = "connected"
	Disconnected = "disconnected"
)

// newEntry returns what o tells the world, nil if that is nothing.
func newEntry(o coordinator.Observation, now time.Time) *Entry {
	now = now.UTC().Truncate(time.Millisecond)
	switch o.Kind {
	case coordinator.Connected:
		return &Entry{Time: now, Event: Connected}
	case coordinator.Disconnected:
		return &Entry{Time: now, Event: Disconnected}
	case coordinator.Notified:
		if o.Event == nil || o.Event.Kind == coordinator.EventWanted {
			return nil // a reader that waits repeats it every second
		}
		return notified(o.Event, now)
	}
	return nil
}

func notified(e *coordinator.Event, now time.Time) *Entry {
	n := &Entry{
		Time: now, Event: string(e.Kind), Account: e.Account, By: e.By, Reason: string(e.Reason),
		Fence: e.Fence, Generation: e.Record.Generation, TTL: seconds(e.Record.TTL),
		Limit: string(e.Limit), RetryIn: seconds(e.RetryIn),
	}
	if n.By == "" {
		n.By = e.Record.IssuedBy
	}
	if f := e.Failure; f != nil {
		n.Kind, n.Code, n.Error = string(f.Kind), f.Code, f.Message
	}
	return n
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// JSON returns the entry as one line. It is encoded once, however many listen.
func (e *Entry) JSON() []byte {
	e.once.Do(func() {
		e.encoded, _ = json.Marshal(e) // nothing in it can fail to be encoded
	})
	return e.encoded
}
