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
// The rules suffice for everything in redisstore and in this package but grants (GrantACL),
// Diagnose (+info, and +config|get for what grants need), clusters (ClusterACL), and a
// database other than 0 (+select). A reader
// can only read: it can change nothing, publish nothing and run no script. To report
// rejected tokens or to force a refresh it needs DemandACL as well.
func RequiredACL(prefix string, role coordinator.Role) []string {
	k := layout.Keyspace{Prefix: cmp.Or(prefix, redisstore.DefaultPrefix)}
	rules := []string{"resetkeys", "resetchannels", "-@all"}
	if role == coordinator.Refresher {
		rules = append(rules, "~"+k.Pattern("*"))
		for _, channel := range channels(role) {
			rules = append(rules, "&"+k.Pattern(channel))
		}
		return append(rules, commandRules(refresherChecks())...)
	}
	rules = append(rules, "%R~"+k.Pattern("*"), "&"+k.Pattern(layout.Refreshed))
	return append(rules, commandRules(readerChecks())...)
}

// DemandACL returns the rule by which a reader may demand a refresh: report the
// current token as rejected, or force a new one. It is a right to spend the calls
// of the day, up to the reserve, and to replace tokens that others use. The prefix
// is redisstore.Options.Prefix, "" for the default.
func DemandACL(prefix string) string {
	return layout.Keyspace{Prefix: cmp.Or(prefix, redisstore.DefaultPrefix)}.DemandRule()
}

// GrantACL returns the rules that a refresher needs in addition if some of its accounts
// have grants. Readers need none of them, and cannot read a grant without them. On Redis
// 7.2 or newer it also needs +waitaof, a rule that older servers do not know;
// MissingGrantACL finds out. The prefix is redisstore.Options.Prefix, "" for the default.
func GrantACL(prefix string) []string {
	k := layout.Keyspace{Prefix: cmp.Or(prefix, redisstore.DefaultPrefix)}
	return []string{grantKeys(k), "+info"}
}

func grantKeys(k layout.Keyspace) string {
	all, _ := k.GrantPattern()
	return "~" + all
}

// channels are those that a process of that role subscribes to.
func channels(role coordinator.Role) []string {
	if role == coordinator.Refresher {
		return []string{layout.Refreshed, layout.Wanted, layout.Begun}
	}
	return []string{layout.Refreshed}
}

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

// MissingACL tries everything that a process of that role needs, without changing
// anything, and returns the rules that the user lacks. It needs no permission of
// its own (ACL DRYRUN would). An error means that the server could not be asked.
func (i Inspector) MissingACL(ctx context.Context, role coordinator.Role) ([]string, error) {
	c := &aclCheck{Inspector: i, account: "acl-probe-" + rand.Text()[:12], keyRule: "~" + i.Keys.Pattern("*")}
	checks, published := refresherChecks(), []string{layout.Refreshed, layout.Begun, layout.Wanted}
	if role == coordinator.Reader {
		checks, published, c.keyRule = readerChecks(), nil, "%R~"+i.Keys.Pattern("*")
	}
	err := c.commands(ctx, i.Keys.Base(c.account), checks, published)
	if err == nil && !slices.Contains(c.missing, "+exec") { // a connection that cannot EXEC would stay in its transaction
		err = c.transaction(ctx)
	}
	if err != nil {
		return nil, i.Fault(ctx, "try what the user may do", "", err)
	}
	for _, channel := range channels(role) {
		if err := c.subscribe(ctx, channel); err != nil {
			return nil, i.Fault(ctx, "try what the user may do", "", err)
		}
	}
	return c.missing, nil
}

// MissingGrantACL returns the rules of GrantACL, and +waitaof on a server that knows it,
// that the user lacks. It is for refreshers, and like MissingACL it changes nothing.
func (i Inspector) MissingGrantACL(ctx context.Context) ([]string, error) {
	c := &aclCheck{Inspector: i, account: "acl-probe-" + rand.Text()[:12], keyRule: grantKeys(i.Keys)}
	err := c.commands(ctx, i.Keys.Grant(c.account), []command{
		{"info", []any{"replication"}},
		{"hmget", []any{key(""), "version"}},
		{"hset", []any{key(""), "field", "value", "odd"}},
		{"zrange", []any{key(":members"), 0, -1}},
		{"waitaof", []any{0, 0, 1}},
	}, nil)
	return c.missing, i.Fault(ctx, "try what the user may do", "", err)
}

type aclCheck struct {
	Inspector
	account string // does not exist
	keyRule string // that is missing if a key is denied
	missing []string
}

// commands sends all checks in one pipeline, and publishes. base begins the keys' names.
func (c *aclCheck) commands(ctx context.Context, base string, checks []command, published []string) error {
	ctx, cancel := c.Bounded(ctx)
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
		for _, channel := range published {
			tried = append(tried, pipe.Do(ctx, "publish", c.Keys.Channel(c.account, channel), "{}"))
		}
		_, err := pipe.Exec(ctx)
		if _, ok := errors.AsType[redis.Error](err); ok {
			return nil // each command has its own error
		}
		return err
	})
	for _, cmd := range tried {
		c.note(cmd.Err(), "")
	}
	return err
}

func (c *aclCheck) transaction(ctx context.Context) error {
	err := c.Client.OnMaster(ctx, c.Keys.Of(c.account).Token, func(client redis.UniversalClient) error {
		return emptyTransaction(ctx, client)
	})
	if answer, ok := errors.AsType[redis.Error](err); ok {
		if redisclient.DeniedCommand(answer.Error()) == "multi" {
			c.note(err, "")
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

// subscribe tries one channel; go-redis has no subscription in a pipeline.
func (c *aclCheck) subscribe(ctx context.Context, channel string) error {
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	pubsub := c.Client.Reads.Subscribe(ctx)
	defer pubsub.Close()
	for _, send := range []func(context.Context, ...string) error{pubsub.Subscribe, pubsub.Unsubscribe} {
		if err := send(ctx, c.Keys.Channel(c.account, channel)); err != nil {
			return err
		}
		_, err := pubsub.ReceiveTimeout(ctx, c.Timeout)
		c.note(err, channel)
		if _, ok := errors.AsType[redis.Error](err); ok {
			return nil // noted, or a refusal: see Refusals
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// note adds the rule that an error reports as missing.
func (c *aclCheck) note(err error, channel string) {
	if err == nil || !redisclient.IsPermission(err) {
		return
	}
	text := err.Error()
	rule := "+" + redisclient.DeniedCommand(text)
	switch {
	case rule != "+":
	case strings.Contains(text, "channel") && channel != "":
		rule = "&" + c.Keys.Pattern(channel)
	case strings.Contains(text, "channel"):
		return // subscribe finds out which one
	default:
		rule = c.keyRule
	}
	if !slices.Contains(c.missing, rule) {
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
