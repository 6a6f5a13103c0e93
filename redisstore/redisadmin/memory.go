package redisadmin

// What accounts need in Redis, as a test measures it with tokens of 153 bytes (WeChat's)
// and the names of AppIDs. A longer token, its attributes and a grant are added to it.
const (
	serverMemory  = 2 << 20 // a server without accounts, and the log of all of them
	accountMemory = 1500    // the token, the state, the calls of three days, a change
	ownLogMemory  = 10_000  // in a cluster, where the log is the account's own
)

// Memory returns about how many bytes of memory a Redis needs for so many accounts. It
// stays at that however often they are refreshed. In a cluster, with cluster set, it is
// divided among the masters.
func Memory(accounts int, cluster bool) int64 {
	each := int64(accountMemory)
	if cluster {
		each += ownLogMemory
	}
	return serverMemory + int64(accounts)*each
}
