package redisstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
)

// message is a notification in JSON; the scripts write it. One struct for all
// events: fields that an event does not have are left out.
type message struct {
	Event       string            `json:"event"`
	By          string            `json:"by,omitempty"`
	AskedBy     string            `json:"asked_by,omitempty"`
	Reason      string            `json:"reason,omitempty"`
	Fence       uint64            `json:"fence,omitempty"`
	Generation  uint64            `json:"generation,omitempty"`
	AccessToken string            `json:"access_token,omitempty"`
	IssuedAt    time.Time         `json:"issued_at,omitzero"`
	ExpiresAt   time.Time         `json:"expires_at,omitzero"`
	IssuedBy    string            `json:"issued_by,omitempty"`
	RefreshAt   time.Time         `json:"refresh_at,omitzero"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Repeated    int               `json:"repeated,omitempty"`
	TTL         int64             `json:"ttl_ms,omitempty"`
	Kind        string            `json:"kind,omitempty"`
	Code        coordinator.Code  `json:"code,omitempty"`
	Error       string            `json:"error,omitempty"`
	Failures    int               `json:"failures,omitempty"`
	At          time.Time         `json:"at,omitzero"`
	Retry       int64             `json:"retry_ms,omitempty"`
	Credential  string            `json:"credential,omitempty"`
	Limit       string            `json:"limit,omitempty"`
	Deadline    int64             `json:"deadline_ms,omitempty"`
	Change      uint64            `json:"change,omitempty,string"`

	// Grant is what readers may know of a grant: never the grant itself.
	Grant *coordinator.GrantSummary `json:"grant,omitempty"`
}

// channelOf returns the channel that carries an event. A reader may be permitted to
// publish on wanted; it must not be able to publish other events there.
func channelOf(kind coordinator.EventKind) string {
	switch kind {
	case coordinator.EventRefreshed, coordinator.EventRestored, coordinator.EventFailed, coordinator.EventThrottled,
		coordinator.EventGrant:
		return layout.Refreshed
	case coordinator.EventWanted:
		return layout.Wanted
	case coordinator.EventBegun:
		return layout.Begun
	}
	return "none"
}

// event decodes a notification. Its errors do not quote it.
func (s *Store) event(account, channel, payload string) (coordinator.Event, error) {
	m, ok := decodeRefreshed(payload)
	if !ok {
		var err error
		if m, err = decodeJSON(payload); err != nil {
			return coordinator.Event{}, err
		}
	}
	e := coordinator.Event{
		Kind:    coordinator.EventKind(m.Event),
		Account: account,
		By:      m.By,
		Reason:  coordinator.Reason(m.Reason),
		Fence:   coordinator.Fence(m.Fence),
	}
	if channelOf(e.Kind) != channel {
		return coordinator.Event{}, fmt.Errorf("the event %.20q does not belong on this channel", m.Event)
	}
	if max(m.Fence, m.Generation, m.Change) > layout.MaxWhole || !inRange(m.TTL) || !inRange(m.Retry) || !inRange(m.Deadline) {
		return coordinator.Event{}, errors.New("a number in it is out of range")
	}
	var err error
	switch e.Kind {
	case coordinator.EventRefreshed, coordinator.EventRestored:
		e.Fence = coordinator.Fence(m.Generation)
		e.Record, err = s.notifiedRecord(account, m)
		e.Change = m.Change
	case coordinator.EventFailed:
		e.RetryIn = milliseconds(m.Retry)
		e.Failure = m.failure()
	case coordinator.EventThrottled:
		e.RetryIn, e.Limit = milliseconds(m.Retry), coordinator.Limit(m.Limit)
	case coordinator.EventGrant:
		if e.Grant = m.Grant; !credibleSummary(e.Grant) {
			return coordinator.Event{}, errors.New("the summary of the grant is missing, or a number in it is out of range")
		}
	case coordinator.EventBegun:
		e.RetryIn = milliseconds(m.Deadline)
		e.Change = m.Change
	case coordinator.EventWanted:
		e.Want = coordinator.WantRequest{Reason: e.Reason, Seen: coordinator.Fence(m.Generation), AskedBy: printable(m.AskedBy)}
	}
	return e, err
}

// decodeJSON is a separate function so that only what it decodes is on the heap.
func decodeJSON(payload string) (m message, err error) {
	if json.Unmarshal([]byte(payload), &m) != nil {
		return message{}, errors.New("it is not a JSON object of the known form")
	}
	return m, nil
}

func (s *Store) notifiedRecord(account string, m message) (coordinator.Record, error) {
	switch {
	case m.AccessToken == "" || m.Generation == 0:
		return coordinator.Record{}, errors.New("the token or its generation is missing")
	case !m.ExpiresAt.After(m.IssuedAt) || m.ExpiresAt.Sub(m.IssuedAt) > coordinator.MaxLifetime:
		return coordinator.Record{}, errors.New("the life that it states is not above zero and up to 366 days")
	}
	r := coordinator.Record{
		Generation: coordinator.Fence(m.Generation),
		IssuedAt:   m.IssuedAt.UTC(),
		ExpiresAt:  m.ExpiresAt.UTC(),
		IssuedBy:   instanceName(m.IssuedBy),
		TTL:        milliseconds(m.TTL),
		Attributes: m.Attributes,
		Repeated:   m.Repeated == 1,
	}
	if coordinator.AttributesSize(m.Attributes) > coordinator.MaxAttributes {
		return coordinator.Record{}, errors.New("it has more attributes than a token may have")
	}
	var err error
	if r.Token, err = s.open(account, r, m.AccessToken); err != nil {
		return coordinator.Record{}, err
	}
	if !m.RefreshAt.IsZero() {
		r.RefreshAt = m.RefreshAt.UTC()
	}
	return r, nil
}

func (m message) failure() *coordinator.Failure {
	return &coordinator.Failure{
		Kind:       coordinator.FailureKind(m.Kind),
		Code:       m.Code,
		Message:    m.Error,
		At:         m.At.UTC(),
		InARow:     m.Failures,
		RetryAt:    m.At.UTC().Add(milliseconds(m.Retry)),
		Credential: m.Credential,
	}
}

// inRange keeps durations from overflowing.
func inRange(ms int64) bool { return ms >= 0 && ms <= layout.MaxMillis }

// milliseconds returns a duration that was read: at most layout.MaxMillis, none below 0.
func milliseconds(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), layout.MaxMillis)) * time.Millisecond
}
