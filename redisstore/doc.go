// Package redisstore is the coordinator's store on Redis 7.0 or newer: a
// single server, Sentinel or Cluster, with or without TLS and ACL.
//
//	store, err := redisstore.Open("redis://127.0.0.1:6379", redisstore.Options{})
//	...
//	defer store.Close()
//
// # What is promised
//
// Each operation is one Lua script on keys that share a hash tag, so it
// happens whole or not at all, on one clock: the server's. Commit, Fail and
// Restore may be repeated after a broken connection. A subscription notices a
// dead server at once and one that hangs within about a second.
//
// Where one address leads to another server after a failover (a DNS name, a
// virtual IP, a Kubernetes Service), connections to the demoted master are left
// within about five seconds, although they stand: the server is asked for its
// role, with HELLO. What does not know HELLO is not asked; then what is read and
// what is demanded is at the new master within a minute.
//
// # What is not
//
// Redis acknowledges a write before its replicas have it. A failover can lose
// the newest token, fences included; fences rise all the same, because they
// follow the clock, and a refresher that still holds the token restores it.
// Options.Replicas makes the loss unlikely: Commit then waits for that many
// replicas, and warns (it does not fail) when they don't answer in time.
//
// The lock is one key on one server (Redsync with one node). It can be lost in
// a failover, and then two processes call the source: the fence decides.
//
// # Keys
//
// Everything is readable with redis-cli; see keys.go for the names. No key but
// :token holds a token, and no error and no log line of this package does.
package redisstore
