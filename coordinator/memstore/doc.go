// Package memstore is a [coordinator.Store] in memory: for programs that need no
// second process, and for tests. It follows the contract in everything, expiry
// included; the decisions are those of package ledger.
//
// A [Store] is shared by its instances, each of which is the store as one process
// sees it. So a fleet of coordinators fits into one test, and can be given every
// fault of a real store and of the network before it:
//
//	store := memstore.New()
//	a, b := store.Instance("a"), store.Instance("b")
//	a.SetDown(true)                            // a network partition
//	b.LoseAnswers(memstore.OpCommit, 1)        // carried out, but not answered
//	store.SetDown(true)                        // a server that died
//
// The time comes from package time, and nothing here starts a goroutine: inside of
// a testing/synctest bubble a store lives through days in milliseconds.
package memstore
