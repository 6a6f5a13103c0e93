package wire

import (
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// LogEntry is an entry of an account's log, as history --json prints it. The
// members have the names of the fields in the store's log, where durations are
// whole milliseconds. Members that do not apply are absent.
type LogEntry struct {
	Time       Time                    `json:"time"`
	Event      string                  `json:"event"`
	By         string                  `json:"by,omitempty"`       // an instance
	AskedBy    string                  `json:"asked_by,omitempty"` // a caller
	Reason     coordinator.Reason      `json:"reason,omitempty"`
	Fence      coordinator.Fence       `json:"fence,omitempty"`
	TookMS     int64                   `json:"took_ms"`
	LifeMS     int64                   `json:"life_ms,omitempty"`
	Kind       coordinator.FailureKind `json:"kind,omitempty"`
	Code       coordinator.Code        `json:"code,omitempty"` // the issuer's
	Error      string                  `json:"error,omitempty"`
	RetryMS    int64                   `json:"retry_ms,omitempty"`
	Newer      coordinator.Fence       `json:"newer,omitempty"`      // superseded: by this attempt
	Generation coordinator.Fence       `json:"generation,omitempty"` // reported, conflict: the one that was reported
	Repeated   bool                    `json:"repeated,omitempty"`   // refreshed: the issuer has only repeated the token that was to be replaced
}

// NewLogEntry returns the form of an entry.
func NewLogEntry(e redisadmin.Entry) LogEntry {
	return LogEntry{
		Time: Time{e.At}, Event: e.Event, By: e.By, AskedBy: e.AskedBy, Reason: e.Reason, Fence: e.Fence,
		TookMS: e.Took.Milliseconds(), LifeMS: e.Life.Milliseconds(), Kind: e.Kind, Code: e.Code,
		Error: e.Error, RetryMS: e.Retry.Milliseconds(), Newer: e.Newer, Generation: e.Seen, Repeated: e.Repeated,
	}
}
