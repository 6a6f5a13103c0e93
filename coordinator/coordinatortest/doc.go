// Package coordinatortest helps to test what is built on package coordinator,
// without Redis and without WeChat.
//
//   - [MemStore] is a store in memory that many instances share, with a switch
//     for each fault that a real one has.
//   - [Source] is an issuer that really revokes: each token it issues kills the
//     one before.
//   - [TestStore] checks an implementation of coordinator.Store.
//
// All of it reads the time from package time alone and starts no goroutines of
// its own, so that a fleet of coordinators, its store and its source fit in one
// testing/synctest bubble and live through days in milliseconds.
package coordinatortest
