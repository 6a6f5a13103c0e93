package ledger

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Changes is in which order the accounts of a store have changed, for a
// [coordinator.ChangeStore]. The zero Changes has none. It is not safe for concurrent use:
// an account is added in the same transaction in which it is saved.
type Changes struct {
	began uint64
	order []coordinator.Change // by number
}

// Clone returns a copy that shares nothing with c.
func (c *Changes) Clone() Changes { return Changes{began: c.began, order: slices.Clone(c.order)} }

// Changed reports whether a step that returned this event and this error has changed what
// other processes read of the account.
func Changed(event *coordinator.Event, err error) bool {
	if event == nil {
		return errors.Is(err, coordinator.ErrSuperseded)
	}
	return event.Kind != coordinator.EventThrottled && event.Kind != coordinator.EventWanted
}

// Add gives the account the next number, which it returns.
func (c *Changes) Add(account string, now time.Time) uint64 {
	number := uint64(max(now.UnixMicro(), 1)) // #nosec G115 -- it is above 0
	if len(c.order) == 0 {
		c.began = number
		number++
	} else {
		number = max(number, c.order[len(c.order)-1].Number+1)
	}
	c.order = slices.DeleteFunc(c.order, func(o coordinator.Change) bool { return o.Account == account })
	c.order = append(c.order, coordinator.Change{Account: account, Number: number})
	return number
}

// Newest returns the place of the newest change, the zero Cursor if there is none.
func (c *Changes) Newest() coordinator.Cursor {
	if len(c.order) == 0 {
		return coordinator.Cursor{}
	}
	return coordinator.Cursor{Change: c.order[len(c.order)-1], Began: c.began}
}

// Since returns the changes after a place, as [coordinator.ChangeStore] says.
func (c *Changes) Since(since coordinator.Cursor) (coordinator.Changes, error) {
	if since == (coordinator.Cursor{}) {
		return coordinator.Changes{Accounts: slices.Clone(c.order), Next: c.Newest()}, nil
	}
	at, _ := slices.BinarySearchFunc(c.order, since.Number, func(o coordinator.Change, number uint64) int {
		return cmp.Compare(o.Number, number)
	})
	newer := c.order[at:]
	if c.began != since.Began || !slices.ContainsFunc(newer, func(o coordinator.Change) bool { return o.Account == since.Account }) {
		return coordinator.Changes{}, coordinator.ErrChangesLost
	}
	if newer[0] == since.Change {
		newer = newer[1:]
	}
	return coordinator.Changes{Accounts: slices.Clone(newer), Next: c.Newest()}, nil
}
