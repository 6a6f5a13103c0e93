package redisstore

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/zhongkong/zhongkong/coordinator"
)

// DefaultPrefix is the prefix of all keys and channels unless Options names
// another.
const DefaultPrefix = "zhongkong"

// maxName is the length in bytes that an account's, an instance's and a
// prefix's name may have.
const maxName = 128

// The channels of an account.
const (
	refreshedChannel = "refreshed" // what has changed, for everybody
	wantedChannel    = "wanted"    // a reader needs a refresher
	begunChannel     = "begun"     // an attempt is under way
)

// keyspace spells the names of keys and channels; nothing else does. All names
// of an account hold it in braces, so that a cluster keeps them together.
type keyspace struct {
	prefix string // checked: no braces, nothing that patterns treat specially
}

// accountKeys are the keys of one account.
type accountKeys struct {
	token    string // hash, with a TTL
	state    string // hash
	attempts string // sorted set: fence, deadline in ms
	calls    string // without the day, which only the server knows for certain
	lock     string // string, with a TTL; Redsync's
	log      string // stream
}

// of spells all keys in one string that they share: every operation asks for
// them.
func (k keyspace) of(account string) accountKeys {
	base := k.base(account)
	all := base + "token" + base + "state" + base + "attempts" + base + "calls:" + base + "lock" + base + "log"
	next := func(what string) (key string) {
		n := len(base) + len(what)
		key, all = all[:n], all[n:]
		return key
	}
	return accountKeys{
		token:    next("token"),
		state:    next("state"),
		attempts: next("attempts"),
		calls:    next("calls:"),
		lock:     next("lock"),
		log:      next("log"),
	}
}

func (k keyspace) base(account string) string { return k.prefix + ":{" + account + "}:" }

func (k keyspace) channel(account, kind string) string { return k.base(account) + kind }

// split takes a key or a channel apart: the account and what of it.
func (k keyspace) split(name string) (account, what string, ok bool) {
	rest, ok := strings.CutPrefix(name, k.prefix)
	if !ok {
		return "", "", false
	}
	if rest, ok = strings.CutPrefix(rest, ":{"); !ok {
		return "", "", false
	}
	account, what, ok = strings.Cut(rest, "}:")
	return account, what, ok && account != ""
}

// pattern matches the keys of all accounts (for SCAN and for ACL rules).
func (k keyspace) pattern(what string) string { return k.prefix + ":{*}:" + what }

// checkAccount reports what is wrong with an account's name. Braces would change
// the slot in a cluster; control characters would not survive in logs.
func checkAccount(name string) error {
	if err := coordinator.ValidateName(name); err != nil {
		return fmt.Errorf("redisstore: account %.40q: %w", name, err)
	}
	return nil
}

func checkPrefix(prefix string) error {
	if err := checkName("prefix", prefix); err != nil {
		return err
	}
	if strings.ContainsAny(prefix, `{}*?[]\^ `) {
		return fmt.Errorf(`redisstore: prefix %q: it must not contain a space or any of {}*?[]\^`, prefix)
	}
	return nil
}

func checkName(kind, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("redisstore: the %s's name is empty", kind)
	case len(name) > maxName:
		return fmt.Errorf("redisstore: %s %.16q...: a name has at most %d bytes", kind, name, maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("redisstore: %s %q: a name must be UTF-8", kind, name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("redisstore: %s %q: a name must not contain control characters", kind, name)
	}
	return nil
}
