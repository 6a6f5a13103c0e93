// Package coordinatortest helps to test what is built on package coordinator,
// without Redis and without WeChat.
//
//   - [TestStore] checks an implementation of coordinator.Store.
//   - [TestGrantStore] checks one of coordinator.GrantStore.
//   - [Source] is an issuer that really revokes: each token it issues kills the
//     one before.
//
// The store to go with a Source is that of package memstore. Both read the time
// from package time alone and start no goroutines, so that a fleet of coordinators,
// its store and its source fit into one testing/synctest bubble and live through
// days in milliseconds.
package coordinatortest
