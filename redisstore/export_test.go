package redisstore

import (
	"time"
)

// changed returns the scripts with their sources changed.
func (scripts) changed(change func(name, source string) string) scripts {
	return scriptsOf(func(name string) string { return change(name, source(name)) })
}

// AskEvery has a store of one address ask its servers so often for their role. It
// is called before the store is used.
func (s *Store) AskEvery(d time.Duration) { s.client.AskEvery(d) }

// DecodedByForm reports whether a notification is decoded without encoding/json.
func DecodedByForm(payload string) bool {
	_, ok := decodeRefreshed(payload)
	return ok
}

// Discard has the store begin nothing on the connections that it has, as a subscription that
// connects again does.
func (s *Store) Discard() { s.client.Discard() }
