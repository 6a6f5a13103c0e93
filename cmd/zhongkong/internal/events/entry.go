package events

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// Entry is an event as a Hub hands it on. It has no token. It is immutable.
type Entry struct {
	wire.Event

	once    sync.Once // guards encoded
	encoded []byte
}

// The events that concern the store as a whole, beside coordinator.EventKind's.
const (
	Connected    = "connected"
	Disconnected = "disconnected"
)

// newEntry returns the event in an observation, nil if there is none for
// listeners.
func newEntry(o coordinator.Observation, now time.Time) *Entry {
	at := wire.Time{Time: now.UTC().Truncate(time.Millisecond)}
	switch o.Kind {
	case coordinator.Connected:
		return &Entry{Event: wire.Event{Time: at, Type: Connected}}
	case coordinator.Disconnected:
		return &Entry{Event: wire.Event{Time: at, Type: Disconnected}}
	case coordinator.Notified:
		if o.Event == nil || o.Event.Kind == coordinator.EventWanted {
			return nil // a reader that waits publishes it every second
		}
		return &Entry{Event: wire.NewEvent(*o.Event, now)}
	}
	return nil
}

// JSON returns the event as one line of JSON. It is encoded once, however many
// listeners there are.
func (e *Entry) JSON() []byte {
	e.once.Do(func() {
		e.encoded, _ = json.Marshal(e.Event) // nothing in it can fail to be encoded
	})
	return e.encoded
}
