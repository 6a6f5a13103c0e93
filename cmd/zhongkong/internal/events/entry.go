package events

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// The events about grants, of this process. Notifications of the store about grants are
// not handed on: there is one for each step of each refresh.
const (
	ConsentNeeded  = "consent_needed"  // a person has to consent
	PushMissing    = "push_missing"    // nothing that the issuer has pushed is valid
	GrantWithdrawn = "grant_withdrawn" // by an event of the issuer
	GrantDoubt     = "grant_doubt"     // a refresh token may be used up
	GrantEnding    = "grant_ending"    // a grant ends soon
	GrantRestored  = "grant_restored"  // Redis had lost it
	GrantConsented = "grant_consented" // a new one was put in
)

// grantEvents are the types of the events about grants.
var grantEvents = map[coordinator.ObservationKind]string{
	coordinator.LostGrant: ConsentNeeded, coordinator.DoubtedGrant: GrantDoubt, coordinator.EndingGrant: GrantEnding,
	coordinator.RestoredGrant: GrantRestored, coordinator.ConsentedGrant: GrantConsented,
}

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
		// A reader that waits publishes EventWanted every second.
		if o.Event == nil || o.Event.Kind == coordinator.EventWanted || o.Event.Kind == coordinator.EventGrant {
			return nil
		}
		return &Entry{Event: wire.NewEvent(*o.Event, now)}
	}
	kind, ok := grantEvents[o.Kind]
	if !ok {
		return nil
	}
	e := &Entry{Event: wire.Event{Time: at, Type: kind, Account: o.Account}}
	if why, ok := errors.AsType[*coordinator.GrantError](o.Err); ok {
		e.Grant, e.Error = why.Condition, why.Error()
		switch {
		case kind != ConsentNeeded:
		case why.Received:
			e.Type = PushMissing
		case why.Withdrawn:
			e.Type = GrantWithdrawn
		}
	}
	return e
}

// JSON returns the event as one line of JSON. It is encoded once, however many
// listeners there are.
func (e *Entry) JSON() []byte {
	e.once.Do(func() {
		e.encoded, _ = json.Marshal(e.Event) // nothing in it can fail to be encoded
	})
	return e.encoded
}
