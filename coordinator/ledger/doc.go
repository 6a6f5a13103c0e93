// Package ledger is the protocol of [coordinator.Store] for one account: what
// Begin, Commit, Fail, Restore and the lock decide, and what they record. It has
// no clock, no mutex and no input or output.
//
// It is the reference that other implementations are compared with, and the core
// of a store that has no rules of its own. Such a store does three things for each
// operation, in one transaction: it loads the account, makes the step, and saves
// the account, also if the step returns an error. It publishes the event, if there is
// one, in the order of the transactions:
//
//	func (s *Store) Begin(ctx context.Context, name string, b coordinator.BeginRequest) (coordinator.Attempt, error) {
//		var account ledger.Account
//		...                                // lock the row, account.UnmarshalBinary(row)
//		attempt, event, err := account.Begin(ledger.Step{Account: name, Instance: s.instance, Now: now}, b)
//		...                                // row = account.MarshalBinary()
//		...                                // publish event, if it is not nil; commit
//		return attempt, err
//	}
//
// What is left to the store is what a ledger cannot know: atomicity, the clock, how
// events travel, and the errors of a store that cannot be asked. Package memstore
// is such a store in memory; an Example of this package is another one.
package ledger
