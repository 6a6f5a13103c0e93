package coordinator

import (
	"context"
	"errors"
)

// ChangeStore is what a Store is besides that remembers in which order accounts have
// changed. A process that follows the changes of all accounts with one small reading
// each ProbeEvery reads no account for which nothing has changed. A Store without it is
// asked for each account each PollEvery.
//
// An operation that changes what Load returns of an account, the counts and the lock
// apart, gives the account a new number in the same atomic step: a Begin that records an
// attempt, a Commit, also one that is superseded, a Fail, a Restore, and a SaveGrant,
// RestoreGrant and DropGrant. Lock, Extend, Unlock, Want, and an operation that changes
// nothing need not. The number is above all numbers so far, also after the store has lost
// its data and its clock went on. The end of a record's TTL is no change.
type ChangeStore interface {
	// Newest returns the place of the newest change, the zero Cursor if none is recorded.
	//
	// Errors: ErrNoChanges, if the store cannot record changes as it is set up. That does
	// not change while the process runs.
	Newest(ctx context.Context) (Cursor, error)

	// Changes returns the accounts whose number is above that of since; for the zero
	// Cursor, all. If there are very many, it returns the first of them, and More.
	//
	// Errors: ErrChangesLost, if the store no longer has what it had at since, so that it
	// may have lost accounts as well; ErrNoChanges.
	Changes(ctx context.Context, since Cursor) (Changes, error)
}

// Changes are accounts that have changed, by number. Each is there once.
type Changes struct {
	Accounts []Change
	Next     Cursor // the place of the last of them, since if there are none
	More     bool   // more changes may be there, above Next
}

// Change is the last change of an account.
type Change struct {
	Account string
	Number  uint64
}

// Cursor is a place in the changes of a store. The zero Cursor is before all changes.
type Cursor struct {
	Change        // the newest that was seen
	Began  uint64 // which record of changes it is a place in; another one begins after a loss
}

// Errors of a ChangeStore.
var (
	ErrChangesLost = errors.New("the store no longer has the change that was seen last")
	ErrNoChanges   = errors.New("the store records no changes")
)
