// Package redisstore is the coordinator's store on Redis 7.0 or newer: a
// single server, Sentinel or Cluster, with or without TLS and ACL.
//
//	store, err := redisstore.Open("redis://127.0.0.1:6379", redisstore.Options{})
//	...
//	defer store.Close()
//
// # What is promised
//
// Each operation is one Lua script, so it happens as a whole or not at all, and by one
// clock: the server's. The keys of an account share a hash tag. On one server the scripts
// also write two keys of all accounts: the log, and the index of what has changed. A
// cluster, and a proxy in front of one, refuses that; there each account has its own log.
// Commit, Fail and Restore may be repeated after a broken connection. A subscription
// notices a dead server at once, and one that hangs within 1.5 s.
//
// One address (a DNS name, a virtual IP, a Kubernetes Service) may lead to another
// server after a failover, while connections to the demoted master stay open. They are
// closed within about five seconds: each server is asked for its role with HELLO. A
// server or proxy without HELLO is not asked; then the new master is used within a
// minute.
//
// # Changes and subscriptions
//
// A Store is a coordinator.ChangeStore: each script that changes an account also gives it
// the next number in one sorted set of all accounts. One ZRANGE tells a process that
// nothing has changed, however many accounts there are. A cluster has no key of all
// accounts, and neither has one behind a proxy: there accounts are polled.
//
// A process with up to 256 accounts subscribes to the channels of each. With more it
// subscribes to patterns that match those of all accounts, and drops what it does not
// follow. A user without the right to PSUBSCRIBE subscribes to each channel, which is
// logged once.
//
// # What is not promised
//
// Redis acknowledges a write before its replicas have it. A failover can lose the
// newest token and the newest fence. Fences increase all the same, because they follow
// the clock, and a refresher that still has the token restores it. Options.Replicas
// makes the loss unlikely: Commit then waits for that many replicas, and logs a
// warning, but does not fail, if they do not answer in time.
//
// The lock is one key on one server (Redsync with one node). It can be lost in a
// failover; then two processes call the source, and the fence decides.
//
// # Grants
//
// A Store is a coordinator.GrantStore if it has a Sealer: grants are never stored in
// plain text, and readers have no right to their keys. What is saved has been confirmed
// by as many servers and disks as Options.Replicas says. A restart and a failover are
// noticed by the server's replication ID (INFO); then nothing but a consent is taken for
// coordinator.GrantSettle, so that processes which remember a newer record can put it
// back. What grants need of a server is more than tokens need: package redisadmin
// examines its settings.
//
// # Keys
//
// All keys can be read with redis-cli; cmd/zhongkong/docs/reference/keys.md describes
// them. Only the key that ends in :token and the channel that ends in :refreshed contain
// tokens, and only the keys that begin with the prefix and -grant contain grants. No error
// and no log line of this package does.
//
// Package redisadmin is for operators: ACL rules, checks of a deployment, the log of an
// account.
package redisstore
