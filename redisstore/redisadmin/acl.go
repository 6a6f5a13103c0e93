package redisadmin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// RequiredACL returns the rules that a process of that role needs in Redis, for
// ACL SETUSER. The prefix is redisstore.Options.Prefix, "" for the default.
//
//	ACL SETUSER zhongkong-reader on >password <the rules>
//
// +psubscribe and +punsubscribe are for processes with many accounts; without them, which
// MissingACL does not report, the channels of each account are subscribed.
//
// They are for these accounts only, or for all if there are none. See MissingSharedACL for
// what a user of single accounts has less.
//
// The rules suffice for everything in redisstore and in this package but grants (GrantACL),
// Diagnose (+info, and +config|get for what grants need), clusters (ClusterACL), and a
// database other than 0 (+select). A reader
// can only read: it can change nothing, publish nothing and run no script. To report
// rejected tokens or to force a refresh it needs DemandACL as well.
func RequiredACL(prefix string, role coordinator.Role, accounts ...string) []string {
	k := keyspace(prefix)
	rules := []string{"resetkeys", "resetchannels", "-@all"}
	for _, account := range inRules(accounts) {
		rules = append(rules, keyRule(role, k.Base(account)))
	}
	for _, channel := range layout.Channels(role == coordinator.Refresher) {
		for _, account := range inRules(accounts) {
			rules = append(rules, "&"+k.Channel(account, channel))
		}
	}
	if role == coordinator.Refresher {
		return append(rules, commandRules(refresherChecks())...)
	}
	return append(rules, commandRules(readerChecks())...)
}

func keyspace(prefix string) layout.Keyspace {
	return layout.Keyspace{Prefix: cmp.Or(prefix, redisstore.DefaultPrefix)}
}

// inRules are the names of the accounts in rules: * for all if there are none.
func inRules(accounts []string) []string {
	if len(accounts) == 0 {
		return []string{"*"}
	}
	return accounts
}

// DemandACL returns the rule by which a reader may demand a refresh of these accounts, or
// of all if there are none: report the current token as rejected, or force a new one. It
// is one rule, whatever the number of accounts. It is a right to spend the calls
// of the day, up to the reserve, and to replace tokens that others use. The prefix
// is redisstore.Options.Prefix, "" for the default.
func DemandACL(prefix string, accounts ...string) string {
	return keyspace(prefix).DemandRule(inRules(accounts)...)
}

// GrantACL returns the rules that a refresher needs in addition if some of its accounts
// have grants: these accounts, or any if there are none. Readers need none of the rules,
// and cannot read a grant without them. On Redis 7.2 or newer it also needs +waitaof, a rule
// that older servers do not know; MissingGrantACL finds out. The prefix is
// redisstore.Options.Prefix, "" for the default.
func GrantACL(prefix string, accounts ...string) []string {
	k := keyspace(prefix)
	var rules []string
	for _, account := range inRules(accounts) {
		rules = append(rules, grantRule(k, account))
	}
	return append(rules, "+info")
}

// grantRule is the rule for the keys of the grant of an account, * for all.
func grantRule(k layout.Keyspace, account string) string { return "~" + k.Grant(account) + "*" }

// ClusterACL returns the rules that a process needs in addition in a cluster.
func ClusterACL() []string { return []string{"+cluster|slots", "+readonly", "+asking", "+command"} }

// SentinelACL returns the rules that the user of the sentinels needs: the user and
// password before the @ of the URL.
func SentinelACL() []string {
	return []string{
		"-@all", "+sentinel|get-master-addr-by-name", "+sentinel|sentinels", "+sentinel|replicas",
		"+subscribe", "+psubscribe", "+unsubscribe", "+ping",
		"resetchannels", "&+switch-master", "&+replica-reconf-done",
	}
}

// MissingACL tries everything that a process of that role needs for these accounts, or for
// all if there are none, without changing anything, and returns the rules that the user
// lacks. The rules of single accounts have the name in place of the * in {*}. The user needs
// no permission for the check itself (ACL DRYRUN would). An error means that the server could
// not be asked.
//
// It takes a round trip for each account.
func (i Inspector) MissingACL(ctx context.Context, role coordinator.Role, accounts ...string) ([]string, error) {
	c, err := i.checkACL(accounts)
	if err != nil {
		return nil, err
	}
	if err := c.tryRole(ctx, role); err != nil {
		return nil, i.Fault(ctx, "try what the user may do", "", err)
	}
	return c.missing, nil
}

// MissingSharedACL returns the rule for the keys that all accounts share, their log and the
// index of their changes, if the user lacks it. The rules of RequiredACL cover these keys. A
// process whose user has rules of single accounts only does without them. In a cluster there
// are no such keys.
func (i Inspector) MissingSharedACL(ctx context.Context, role coordinator.Role) ([]string, error) {
	if !i.Shares {
		return nil, nil
	}
	c := &aclCheck{Inspector: i, probe: newProbe()}
	checks := []command{{"zrange", []any{key("changes"), 0, -1}}}
	if role == coordinator.Refresher {
		checks = append(checks, command{"hset", []any{key("log"), "field", "value", "odd"}})
	}
	err := c.commands(ctx, i.Keys.Base("")+c.probe, keyRule(role, i.Keys.Base("")), checks, nil)
	return c.missing, i.Fault(ctx, "try what the user may do", "", err)
}

// MissingGrantACL returns the rules of GrantACL, and +waitaof on a server that knows it,
// that the user lacks for these accounts, or for all if there are none. It is for
// refreshers, and like MissingACL it changes nothing.
func (i Inspector) MissingGrantACL(ctx context.Context, accounts ...string) ([]string, error) {
	c, err := i.checkACL(accounts)
	if err != nil {
		return nil, err
	}
	for _, a := range c.accounts {
		err := c.commands(ctx, i.Keys.Grant(a.name)+":"+c.probe, grantRule(i.Keys, a.inRules), []command{
			{"info", []any{"replication"}},
			{"hmget", []any{key(""), "version"}},
			{"hset", []any{key(""), "field", "value", "odd"}},
			{"zrange", []any{key(":members"), 0, -1}},
			{"waitaof", []any{0, 0, 1}},
		}, nil)
		if err != nil {
			return nil, i.Fault(ctx, "try what the user may do", "", err)
		}
	}
	return c.missing, nil
}

type aclCheck struct {
	Inspector
	accounts []aclAccount
	probe    string // begins the last parts of the keys that are tried, which do not exist
	missing  []string
}

// aclAccount is an account for which rights are tried.
type aclAccount struct{ name, inRules string }

// checkACL begins a check for these accounts; see triedAccounts.
func (i Inspector) checkACL(accounts []string) (*aclCheck, error) {
	c := &aclCheck{Inspector: i, probe: newProbe()}
	tried, err := i.triedAccounts(accounts)
	if err != nil {
		return nil, err
	}
	for n, name := range inRules(accounts) {
		c.accounts = append(c.accounts, aclAccount{tried[n], name})
	}
	return c, nil
}

// triedAccounts returns the accounts with which something is tried: if there are none, one
// that does not exist, which the rules of all accounts cover.
func (i Inspector) triedAccounts(accounts []string) ([]string, error) {
	if len(accounts) == 0 {
		return []string{newProbe()}, nil
	}
	for _, name := range accounts {
		if err := i.CheckAccount(name); err != nil {
			return nil, err
		}
	}
	return accounts, nil
}

func newProbe() string { return "acl-probe-" + rand.Text()[:12] }

// keyRule is the rule for the keys whose names begin so.
func keyRule(role coordinator.Role, base string) string {
	if role == coordinator.Reader {
		return "%R~" + base + "*"
	}
	return "~" + base + "*"
}

// tryRole tries what a process of the role does.
func (c *aclCheck) tryRole(ctx context.Context, role coordinator.Role) error {
	checks, published := refresherChecks(), layout.Channels(true)
	if role == coordinator.Reader {
		checks, published = readerChecks(), nil
	}
	for _, a := range c.accounts {
		if err := c.commands(ctx, c.Keys.Base(a.name)+c.probe, keyRule(role, c.Keys.Base(a.inRules)), checks, published); err != nil {
			return err
		}
	}
	if !slices.Contains(c.missing, "+exec") { // a connection that cannot EXEC would stay in its transaction
		if err := c.transaction(ctx); err != nil {
			return err
		}
	}
	for _, channel := range layout.Channels(role == coordinator.Refresher) {
		for some := range slices.Chunk(c.accounts, subscribedAtOnce) {
			if err := c.subscribe(ctx, some, channel); err != nil {
				return err
			}
		}
	}
	return nil
}

// commands sends all checks in one pipeline, and publishes. base begins the keys' names, and
// rule is the one that is missing if a key is denied.
func (c *aclCheck) commands(ctx context.Context, base, rule string, checks []command, published []string) error {
	ctx, cancel := c.Client.Bounded(ctx)
	defer cancel()
	var tried []*redis.Cmd
	err := c.Client.OnMaster(ctx, base, func(client redis.UniversalClient) error {
		pipe := client.Pipeline()
		tried = tried[:0]
		for _, p := range checks {
			if p.args != nil {
				tried = append(tried, pipe.Do(ctx, p.with(base)...))
			}
		}
		for _, channel := range published { // of no account: others would hear it
			tried = append(tried, pipe.Do(ctx, "publish", c.Keys.Channel(c.probe, channel), "{}"))
		}
		_, err := pipe.Exec(ctx)
		if _, ok := errors.AsType[redis.Error](err); ok {
			return nil // each command has its own error
		}
		return err
	})
	for _, cmd := range tried {
		c.note(cmd.Err(), rule, "")
	}
	return err
}

func (c *aclCheck) transaction(ctx context.Context) error {
	err := c.Client.OnMaster(ctx, c.Keys.Base(c.accounts[0].name), func(client redis.UniversalClient) error {
		return emptyTransaction(ctx, client)
	})
	if answer, ok := errors.AsType[redis.Error](err); ok {
		if redisclient.DeniedCommand(answer.Error()) == "multi" {
			c.note(err, "", "")
		}
		return nil
	}
	return err
}

// emptyTransaction finds out whether the server, and a proxy in front of it,
// accepts transactions. It does not use those of go-redis: if MULTI is refused they
// return the connection to the pool before the other answers have been read, and
// its next user takes these for answers to its own commands. In a pipeline each
// answer is read.
func emptyTransaction(ctx context.Context, server redis.UniversalClient) error {
	client, ok := server.(*redis.Client)
	if !ok {
		return nil // a cluster client would send the two to different servers
	}
	pipe := client.Pipeline()
	multi, exec := pipe.Do(ctx, "multi"), pipe.Do(ctx, "exec")
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := multi.Err(); err != nil {
		return err
	}
	return exec.Err()
}

// subscribedAtOnce is how many channels are tried in a round trip.
const subscribedAtOnce = 100

// subscribe tries a channel of accounts; go-redis has no subscription in a pipeline.
func (c *aclCheck) subscribe(ctx context.Context, accounts []aclAccount, channel string) error {
	ctx, cancel := c.Client.Bounded(ctx)
	defer cancel()
	pubsub := c.Client.Reads.Subscribe(ctx)
	defer pubsub.Close()
	refused := false // noted, or for every user: see Refusals
	for _, send := range []func(context.Context, ...string) error{pubsub.Subscribe, pubsub.Unsubscribe} {
		if refused {
			return nil
		}
		for _, a := range accounts {
			if err := send(ctx, c.Keys.Channel(a.name, channel)); err != nil {
				return err
			}
		}
		for _, a := range accounts {
			err := c.answer(ctx, pubsub)
			c.note(err, "", "&"+c.Keys.Channel(a.inRules, channel))
			if _, answered := errors.AsType[redis.Error](err); err != nil && !answered {
				return err
			}
			refused = refused || err != nil
		}
	}
	return nil
}

// answer waits for the answer to a subscription, and leaves out what is notified meanwhile.
func (c *aclCheck) answer(ctx context.Context, pubsub *redis.PubSub) error {
	for {
		received, err := pubsub.ReceiveTimeout(ctx, c.Timeout)
		if _, notified := received.(*redis.Message); err != nil || !notified {
			return err
		}
	}
}

// note adds the rule that an error reports as missing: that of a command, or those that are
// given for keys and for a channel. An empty one for the channel: subscribe finds out.
func (c *aclCheck) note(err error, ofKeys, ofChannel string) {
	if err == nil || !redisclient.IsPermission(err) {
		return
	}
	text := err.Error()
	rule := "+" + redisclient.DeniedCommand(text)
	switch {
	case rule != "+":
	case strings.Contains(text, "channel"):
		rule = ofChannel
	default:
		rule = ofKeys
	}
	if rule != "" && !slices.Contains(c.missing, rule) {
		c.missing = append(c.missing, rule)
	}
}

// command is a command that a role needs, with arguments for which it has no
// effect on an account that does not exist: Redis checks the user's rights
// before it looks at arguments (but after it has counted them). key marks the
// place of a key. Nil arguments: it is tried in another way.
type command struct {
	name string
	args []any
}

// key is the last part of a key's name.
type key string

// command returns what to send; base begins the keys' names.
func (p command) with(base string) []any {
	out := []any{p.name}
	for _, arg := range p.args {
		if k, ok := arg.(key); ok {
			arg = base + string(k)
		}
		out = append(out, arg)
	}
	return out
}

func readerChecks() []command {
	return []command{
		{"ping", []any{"probe"}},
		{"subscribe", nil},
		{"unsubscribe", nil},
		{"psubscribe", nil}, // not tried: with few accounts, or where it is refused, each channel is subscribed
		{"punsubscribe", nil},
		{"multi", nil},
		{"exec", []any{}}, // without MULTI it is an error, after the right was looked at
		{"time", []any{}},
		{"hmget", []any{key("token"), "generation"}},
		{"pttl", []any{key("lock")}},
		{"zrange", []any{key("attempts"), 0, -1}},
		{"get", []any{key("lock")}},
		{"xrevrange", []any{key("log"), "+", "-", "count", 1}},
		{"scan", []any{0, "match", key("*"), "count", 1}},
	}
}

func refresherChecks() []command {
	return append(readerChecks(), []command{
		{"evalsha", []any{"probe", 1, key("token")}},
		{"eval", []any{"return 1", 1, key("token")}},
		{"publish", nil},
		{"set", []any{key("lock"), "probe", "xx"}},
		{"del", []any{key("lock")}},
		{"pexpire", []any{key("lock"), 1}},
		{"hset", []any{key("state"), "field", "value", "odd"}},
		{"hdel", []any{key("state"), "field"}},
		{"zadd", []any{key("attempts"), "xx", 1, "1"}},
		{"zrem", []any{key("attempts"), "1"}},
		{"zscore", []any{key("attempts"), "1"}},
		{"incrby", []any{key("calls"), "none"}},
		{"expire", []any{key("calls"), 1}},
		{"xadd", []any{key("log"), "nomkstream", "*", "field", "value"}},
		{"wait", []any{0, 1}},
	}...)
}

func commandRules(checks []command) []string {
	rules := make([]string, 0, len(checks))
	for _, p := range checks {
		rules = append(rules, "+"+p.name)
	}
	return rules
}
