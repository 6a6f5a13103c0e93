package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
)

// RequiredACL returns the rules that a process of that role needs in Redis, for
// ACL SETUSER. The prefix is Options.Prefix, "" for the default.
//
//	ACL SETUSER zhongkong-reader on >password <the rules>
//
// They suffice for everything in this package but Diagnose (+info), clusters
// (ClusterACL), and a database other than 0 (+select). A reader can read, and
// nothing else: it can change nothing, publish nothing and run no script. One
// that is to report rejected tokens, or to force a refresh, needs DemandACL
// besides.
func RequiredACL(prefix string, role coordinator.Role) []string {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	k := keyspace{prefix}
	rules := []string{"resetkeys", "resetchannels", "-@all"}
	if role == coordinator.Refresher {
		rules = append(rules, "~"+k.pattern("*"))
		for _, kind := range []string{refreshedChannel, wantedChannel, begunChannel} {
			rules = append(rules, "&"+k.pattern(kind))
		}
		return append(rules, commandRules(refresherProbes())...)
	}
	rules = append(rules, "%R~"+k.pattern("*"), "&"+k.pattern(refreshedChannel))
	return append(rules, commandRules(readerProbes())...)
}

// DemandACL returns the rule by which a reader may demand a refresh: report the
// current token as rejected, or force a new one. It is a right to spend the calls
// of the day, up to the reserve, and to replace tokens that others use. The prefix
// is Options.Prefix, "" for the default.
func DemandACL(prefix string) string {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	// A selector of its own: the right to publish on a channel and the right
	// to subscribe to it are one and the same.
	return "(+publish &" + keyspace{prefix}.pattern(wantedChannel) + ")"
}

// ClusterACL returns the rules that a process needs besides in a cluster.
func ClusterACL() []string { return []string{"+cluster|slots", "+readonly", "+asking", "+command"} }

// SentinelACL returns the rules that the user of the sentinels needs (the user
// of the URL's own name and password).
func SentinelACL() []string {
	return []string{
		"-@all", "+sentinel|get-master-addr-by-name", "+sentinel|sentinels", "+sentinel|replicas",
		"+subscribe", "+psubscribe", "+unsubscribe", "+ping",
		"resetchannels", "&+switch-master", "&+replica-reconf-done",
	}
}

// MissingACL tries all that a process of that role needs, without an effect on
// anything, and returns the rules that the user lacks, none if it lacks none.
// It needs no right of its own (ACL DRYRUN would). An error is a server that
// could not be asked.
func (s *Store) MissingACL(ctx context.Context, role coordinator.Role) ([]string, error) {
	t := &trial{store: s, role: role, account: "acl-probe-" + rand.Text()[:12]}
	if err := t.commands(ctx); err != nil {
		return nil, s.fault(ctx, "try what the user may do", "", err)
	}
	kinds := []string{refreshedChannel}
	if role == coordinator.Refresher {
		kinds = append(kinds, wantedChannel, begunChannel)
	}
	for _, kind := range kinds {
		if err := t.subscribe(ctx, kind); err != nil {
			return nil, s.fault(ctx, "try what the user may do", "", err)
		}
	}
	return t.missing, nil
}

// trial is one MissingACL.
type trial struct {
	store   *Store
	role    coordinator.Role
	account string // one that does not exist
	missing []string
}

// commands sends all probes at once, and what is published.
func (t *trial) commands(ctx context.Context) error {
	ctx, cancel := t.store.bounded(ctx)
	defer cancel()
	probes, published := readerProbes(), []string(nil)
	if t.role == coordinator.Refresher {
		probes, published = refresherProbes(), []string{refreshedChannel, begunChannel, wantedChannel}
	}
	var tried []*redis.Cmd
	err := t.store.client.OnMaster(ctx, t.store.keys.of(t.account).token, func(client redis.UniversalClient) error {
		pipe := client.Pipeline()
		tried = tried[:0]
		for _, p := range probes {
			if p.args != nil {
				tried = append(tried, pipe.Do(ctx, p.command(t.store.keys.base(t.account))...))
			}
		}
		for _, kind := range published {
			tried = append(tried, pipe.Do(ctx, "publish", t.store.keys.channel(t.account, kind), "{}"))
		}
		_, err := pipe.Exec(ctx)
		var answer redis.Error
		if errors.As(err, &answer) {
			return nil // each command has its own error
		}
		return err
	})
	for _, cmd := range tried {
		t.note(cmd.Err(), "")
	}
	if err != nil || slices.Contains(t.missing, "+exec") {
		return err // a connection that cannot EXEC would stay in its transaction
	}
	return t.transaction(ctx)
}

// transaction tries MULTI.
func (t *trial) transaction(ctx context.Context) error {
	err := t.store.client.OnMaster(ctx, t.store.keys.of(t.account).token, func(client redis.UniversalClient) error {
		return emptyTransaction(ctx, client)
	})
	var answer redis.Error
	if errors.As(err, &answer) {
		if deniedCommand(answer.Error()) == "multi" {
			t.note(err, "")
		}
		return nil
	}
	return err
}

// emptyTransaction finds out whether the server, and a proxy in front of it, takes
// transactions. Not go-redis' own: it returns a connection on which MULTI was
// refused without having read the answers to the rest, and its next user takes
// them for those to its own commands. In a pipeline each answer is read.
func emptyTransaction(ctx context.Context, server redis.UniversalClient) error {
	client, ok := server.(*redis.Client)
	if !ok {
		return nil // a cluster's client would send the two to different servers
	}
	pipe := client.Pipeline()
	multi, exec := pipe.Do(ctx, "multi"), pipe.Do(ctx, "exec")
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := multi.Err(); err != nil {
		return err
	}
	return exec.Err()
}

// subscribe tries one channel; go-redis has no subscription on a pipeline.
func (t *trial) subscribe(ctx context.Context, kind string) error {
	ctx, cancel := t.store.bounded(ctx)
	defer cancel()
	pubsub := t.store.client.Reads.Subscribe(ctx)
	defer pubsub.Close()
	channel := t.store.keys.channel(t.account, kind)
	for _, send := range []func(context.Context, ...string) error{pubsub.Subscribe, pubsub.Unsubscribe} {
		if err := send(ctx, channel); err != nil {
			return err
		}
		_, err := pubsub.ReceiveTimeout(ctx, t.store.timeout)
		t.note(err, kind)
		var answer redis.Error
		if errors.As(err, &answer) {
			return nil // of the rights, or one that Refusals tells of
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// note adds the rule whose lack an error tells of.
func (t *trial) note(err error, channel string) {
	if err == nil || !isPermission(err) {
		return
	}
	text := err.Error()
	rule := "+" + deniedCommand(text)
	switch {
	case rule != "+":
	case strings.Contains(text, "channel") && channel != "":
		rule = "&" + t.store.keys.pattern(channel)
	case strings.Contains(text, "channel"):
		return // the subscriptions tell which one
	case t.role == coordinator.Reader:
		rule = "%R~" + t.store.keys.pattern("*")
	default:
		rule = "~" + t.store.keys.pattern("*")
	}
	if !slices.Contains(t.missing, rule) {
		t.missing = append(t.missing, rule)
	}
}

// deniedCommand returns the command that Redis names in a NOPERM, "" if the
// error is about something else.
func deniedCommand(text string) string {
	_, rest, _ := strings.Cut(text, "to run the '")
	command, _, _ := strings.Cut(rest, "'")
	return command
}

// probe is a command that a role needs, with arguments for which it has no
// effect on an account that does not exist: Redis checks the user's rights
// before it looks at arguments (but after it has counted them). key marks the
// place of a key. Nil arguments: it is tried in another way.
type probe struct {
	name string
	args []any
}

// key is the last part of a key's name.
type key string

// command returns what to send; base begins the keys' names.
func (p probe) command(base string) []any {
	out := []any{p.name}
	for _, arg := range p.args {
		if k, ok := arg.(key); ok {
			arg = base + string(k)
		}
		out = append(out, arg)
	}
	return out
}

func readerProbes() []probe {
	return []probe{
		{"ping", []any{"probe"}},
		{"subscribe", nil},
		{"unsubscribe", nil},
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

func refresherProbes() []probe {
	return append(readerProbes(), []probe{
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

func commandRules(probes []probe) []string {
	rules := make([]string, 0, len(probes))
	for _, p := range probes {
		rules = append(rules, "+"+p.name)
	}
	return rules
}
