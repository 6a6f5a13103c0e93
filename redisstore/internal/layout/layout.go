// Package layout names what a Store keeps in Redis: keys, channels, and the range
// of the numbers in them. cmd/zhongkong/docs/reference/keys.md describes the contents.
package layout

import "strings"

// The ranges of numbers.
const (
	MaxWhole  = 1<<53 - 1 // the greatest whole number that Lua and JSON carry exactly
	MaxMillis = 1 << 43   // the longest duration in ms that is believed; a time.Duration holds a little more
)

// About how many entries a log keeps.
const (
	MaxLog    = 5000 // the one of all accounts
	MaxOwnLog = 50   // that of one account, where keys cannot be shared
)

// The channels of an account.
const (
	Refreshed = "refreshed" // what has changed; for all processes
	Wanted    = "wanted"    // a reader asks the refreshers for a refresh
	Begun     = "begun"     // an attempt is under way; for refreshers
)

var channels = [...]string{Refreshed, Wanted, Begun}

// Channels returns the channels of an account that a refresher subscribes to, or else a
// reader: the first of them.
func Channels(refresher bool) []string {
	if refresher {
		return channels[:]
	}
	return channels[:1:1]
}

// Keyspace makes the names of keys and channels; nothing else does. All names of an
// account contain it in braces, so that a cluster keeps them on one node.
type Keyspace struct {
	Prefix string // without braces and characters that patterns treat specially
}

// AccountKeys are the keys of one account.
type AccountKeys struct {
	Token    string // hash, with a TTL
	State    string // hash
	Attempts string // sorted set: fence, deadline in ms
	Calls    string // without the day, which only the server knows for certain
	Lock     string // string, with a TTL; Redsync's
	Log      string // stream; see SharedLog
	Former   string // sorted set: hash of a token, instant in ms; with a TTL
}

// Of returns an account's keys.
func (k Keyspace) Of(account string) AccountKeys { return keysAt(k.Base(account)) }

// Unused returns keys that no version uses. Rules for the account's keys cover them, and
// a cluster keeps them where it keeps those.
func (k Keyspace) Unused(account, part string) AccountKeys {
	return keysAt(k.Base(account) + part + ":")
}

// keysAt returns keys that share one string, because every operation makes them.
func keysAt(base string) AccountKeys {
	all := base + "token" + base + "state" + base + "attempts" + base + "calls:" + base + "lock" + base + "log" + base + "former"
	next := func(what string) (key string) {
		n := len(base) + len(what)
		key, all = all[:n], all[n:]
		return key
	}
	return AccountKeys{
		Token:    next("token"),
		State:    next("state"),
		Attempts: next("attempts"),
		Calls:    next("calls:"),
		Lock:     next("lock"),
		Log:      next("log"),
		Former:   next("former"),
	}
}

// SharedLog returns the key of the stream that has the log of all accounts. A cluster
// has no keys of all accounts: there, and in what a version before this one has
// written, each account has a Log of its own.
//
// No account can be named "", and the rules for the keys of Pattern cover it.
func (k Keyspace) SharedLog() string { return k.Base("") + "log" }

// Changes returns the key of the sorted set of all accounts and of when each of them was
// changed last. See lua/change.lua.
func (k Keyspace) Changes() string { return k.Base("") + "changes" }

// Base begins the names of an account's keys and channels.
func (k Keyspace) Base(account string) string { return k.Prefix + ":{" + account + "}:" }

// Channel returns the name of an account's channel.
func (k Keyspace) Channel(account, channel string) string { return k.Base(account) + channel }

// Grant returns the key of an account's grant. It is no key of Pattern, so that the
// rights of readers do not cover it; the hash tag is that of the account's other keys.
func (k Keyspace) Grant(account string) string { return k.Prefix + "-grant:{" + account + "}" }

// GrantMembers returns the key of the accounts that live on an account's grant.
func (k Keyspace) GrantMembers(account string) string { return k.Grant(account) + ":members" }

// GrantPattern matches the keys of all grants, for ACL rules and, without their
// members, for SCAN.
func (k Keyspace) GrantPattern() (all, records string) {
	return k.Grant("*") + "*", k.Grant("*")
}

// SplitGrant returns the account of the key of a grant.
func (k Keyspace) SplitGrant(key string) (account string, ok bool) {
	rest, ok := strings.CutPrefix(key, k.Prefix+"-grant:{")
	account, closed := strings.CutSuffix(rest, "}")
	return account, ok && closed && account != ""
}

// Split returns the account of a key or a channel, and the rest of the name.
func (k Keyspace) Split(name string) (account, what string, ok bool) {
	rest, ok := strings.CutPrefix(name, k.Prefix)
	if !ok {
		return "", "", false
	}
	if rest, ok = strings.CutPrefix(rest, ":{"); !ok {
		return "", "", false
	}
	account, what, ok = strings.Cut(rest, "}:")
	return account, what, ok && account != ""
}

// Pattern matches a key or a channel of all accounts, for SCAN and for ACL rules.
func (k Keyspace) Pattern(what string) string { return k.Base("*") + what }

// DemandRule is the ACL rule by which a reader may publish on the channels of demands of
// these accounts, * for all. It is a selector of its own: the right to publish on a
// channel and the right to subscribe to it are the same one.
func (k Keyspace) DemandRule(accounts ...string) string {
	var rule strings.Builder
	rule.WriteString("(+publish")
	for _, account := range accounts {
		rule.WriteString(" &" + k.Channel(account, Wanted))
	}
	return rule.String() + ")"
}

// Sealed reports whether a stored token has the form of a sealed one: the five
// parts of a JWE.
func Sealed(stored string) bool {
	return strings.HasPrefix(stored, "ey") && strings.Count(stored, ".") == 4
}
