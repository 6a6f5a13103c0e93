package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// What comes of a poisoned key or message.
type outcome string

const (
	goesOn   outcome = "goes on"   // the account is refreshed as if nothing had been
	named    outcome = "named"     // it stops, says which key is wrong, and goes on when that is deleted
	noBudget outcome = "throttled" // the day's calls count as used up, until the counter is deleted
)

// poison is one row of the table.
type poison struct {
	name string
	do   []any // a command; ACCOUNT in it is the account's name
	want outcome
}

// absurd are values that no process writes into any field.
func absurd() map[string]any {
	return map[string]any{
		"negative": "-5", "not a number": "nan", "infinite": "1e999", "hexadecimal": "0x10", "a fraction": "1.5",
		"words": "all is well", "empty": "", "escapes": "\x1b]0;OWNED\x07\x1b[2J\nall is well", "not UTF-8": "\xff\xfe\x80",
		"a megabyte": strings.Repeat("A", 1<<20), "beyond 64 bits": "18446744073709551616",
	}
}

// huge are numbers that can be read, and are further ahead than any valid one.
func huge() map[string]any {
	return map[string]any{
		"the greatest": "9007199254740991", "the greatest but one": "9007199254740990", "9e15": "9000000000000000",
	}
}

const day = 24 * time.Hour

// poisons is the table: every key and every message, with every kind of value.
func poisons() []poison {
	var all []poison
	add := func(name string, want outcome, do ...any) { all = append(all, poison{name, do, want}) }
	key := func(kind string) string { return "zhongkong:{ACCOUNT}:" + kind }
	today := time.Now().UTC().Add(8 * time.Hour).Format("20060102")

	for _, kind := range []string{"token", "state", "attempts", "lock", "calls:" + today, "log"} {
		want := named
		if kind == "log" {
			want = goesOn // a refresh does not fail for what is for people
		}
		for _, wrong := range [][]any{{"set", key(kind), "x"}, {"lpush", key(kind), "x"}, {"sadd", key(kind), "x"}} {
			if wrong[0] == "set" && (kind == "lock" || strings.HasPrefix(kind, "calls")) {
				continue // of the right type: below
			}
			add(kind+" of the wrong type: "+wrong[0].(string), want, wrong...)
		}
	}
	// A record that cannot be used is replaced.
	for _, field := range []string{"access_token", "generation", "issued_at", "expires_at", "issued_by"} {
		for what, value := range absurd() {
			add("token."+field+" "+what, goesOn, "hset", key("token"), field, value)
		}
		for what, value := range huge() {
			add("token."+field+" "+what, goesOn, "hset", key("token"), field, value)
		}
		add("token."+field+" missing", goesOn, "hdel", key("token"), field)
	}
	for what, value := range absurd() { // the token is served without them
		add("token.attributes "+what, goesOn, "hset", key("token"), "attributes", value, "repeated", value)
	}
	for _, value := range []string{"[]", "null", `{"scope":1}`, `{"scope":{}}`, `{"a":"` + strings.Repeat("A", coordinator.MaxAttributes) + `"}`} {
		add("token.attributes "+value[:min(len(value), 20)], goesOn, "hset", key("token"), "attributes", value)
	}
	add("token.expires_at of the year 9999", goesOn, "hset", key("token"), "expires_at", "9999-12-31T23:59:59.000Z")
	add("token.issued_at of the year 9999", goesOn, "hset", key("token"), "issued_at", "9999-12-31T00:00:00.000Z", "expires_at", "9999-12-31T23:59:59.000Z")
	add("token without an end", goesOn, "persist", key("token"))
	add("token deleted", goesOn, "del", key("token"))
	add("state deleted", goesOn, "del", key("state"))

	// A number that cannot be read is named; one that is too far ahead is ignored.
	numbers := []string{"fence", "failures", "retry_at", "last_error_at", "conflicts", "demanded_at", "failed_fence", "paced_until",
		"window_ends", "window_calls"}
	for _, field := range numbers {
		want := named
		if field == "failed_fence" {
			want = goesOn // it only tells a repetition
		}
		for what, value := range absurd() {
			add("state."+field+" "+what, want, "hset", key("state"), field, value)
		}
		for what, value := range huge() {
			add("state."+field+" "+what, goesOn, "hset", key("state"), field, value)
		}
	}
	for _, field := range []string{"last_error", "last_error_kind", "refused_credential"} {
		for what, value := range absurd() {
			add("state."+field+" "+what, goesOn, "hset", key("state"), field, value)
		}
	}
	for _, kind := range []string{"busy", "refused", "later", "unknown"} {
		add("a back-off for ever, "+kind, goesOn, "hset", key("state"), "failures", "3", "retry_at", "9007199254740991",
			"last_error_at", strconv.FormatInt(time.Now().UnixMilli(), 10), "last_error_kind", kind, "last_error", "x", "last_error_code", "40125")
	}
	for what, in := range map[string]time.Duration{"half a minute": 30 * time.Second, "three hours": 3 * time.Hour} {
		add("a back-off of "+what+" that no failure has set", goesOn, "hset", key("state"),
			"retry_at", strconv.FormatInt(time.Now().Add(in).UnixMilli(), 10))
	}
	for what, value := range absurd() {
		add("state.refresh_at "+what, goesOn, "hset", key("state"), "refresh_at", value) // it is only a wish
	}
	for what, value := range huge() {
		add("state.refresh_at "+what, goesOn, "hset", key("state"), "refresh_at", value)
		add("calls "+what, noBudget, "set", key("calls:"+today), value)
	}
	for what, value := range absurd() {
		add("calls "+what, named, "set", key("calls:"+today), value)
	}
	for what, value := range absurd() {
		add("attempts, a member "+what, goesOn, "zadd", key("attempts"), 1, value)
	}
	for what, value := range huge() {
		add("attempts, a member "+what, goesOn, "zadd", key("attempts"), 1, value)
	}
	for _, score := range []string{"inf", "-inf", "-5", "1e300", "9007199254740991"} {
		add("attempts, a score of "+score, goesOn, "zadd", key("attempts"), score, "5")
	}
	many := []any{"zadd", key("attempts")}
	for i := range 20_000 {
		many = append(many, 1, i+1)
	}
	add("attempts, twenty thousand", goesOn, many...)
	for what, value := range absurd() {
		if what != "empty" {
			add("lock "+what+" without an end", goesOn, "set", key("lock"), value)
			add("lock "+what+" for a day", goesOn, "set", key("lock"), value, "px", day.Milliseconds())
		}
	}
	add("log of the greatest ID", goesOn, "xadd", key("log"), "18446744073709551615-18446744073709551615", "event", "x")
	return append(all, forgedMessages()...)
}

// forgedMessages are the rows for what may be published.
func forgedMessages() []poison {
	var all []poison
	add := func(name, channel, message string) {
		all = append(all, poison{channel + ": " + name, []any{"publish", "zhongkong:{ACCOUNT}:" + channel, message}, goesOn})
	}
	const evil = `"access_token":"EVIL","issued_at":"2026-01-01T00:00:00.000Z","issued_by":"evil",`
	for _, channel := range []string{"refreshed", "begun", "wanted"} {
		add("nothing", channel, "")
		add("junk", channel, strings.Repeat("x", 1000))
		add("an array", channel, "[1]")
		add("a thousand levels", channel, strings.Repeat("[", 1000))
		add("a megabyte", channel, `{"event":"`+strings.Repeat("A", 1<<20)+`"}`)
		add("an event of another channel", channel, `{"event":"`+map[string]string{"refreshed": "wanted", "begun": "refreshed", "wanted": "begun"}[channel]+`"}`)
	}
	for _, value := range []string{"7", "[]", "null", `{"a":1}`, `{"a":"` + strings.Repeat("A", coordinator.MaxAttributes) + `"}`} {
		add("attributes "+value[:min(len(value), 20)], "refreshed", `{"event":"refreshed",`+evil+`"attributes":`+value+
			`,"expires_at":"2026-01-01T02:00:00.000Z","ttl_ms":1,"generation":9007199254740991}`)
	}
	for _, number := range []string{
		"9007199254740991", "9007199254740990", "9007199254740992", "1e300", "-1", "1.5", `"7"`, "null", "true", "0",
	} {
		for _, event := range []string{"refreshed", "restored"} {
			add(event+", of generation "+number, "refreshed", `{"event":"`+event+`",`+evil+
				`"expires_at":"2026-01-01T02:00:00.000Z","ttl_ms":7200000,"generation":`+number+`}`)
			add(event+", with a TTL of "+number, "refreshed", `{"event":"`+event+`",`+evil+
				`"expires_at":"9999-12-31T00:00:00.000Z","generation":`+strconv.FormatInt(time.Now().Add(time.Hour).UnixMicro(), 10)+`,"ttl_ms":`+number+`}`)
		}
		for _, kind := range []string{"busy", "refused", "later", "unknown"} {
			add("failed "+kind+", "+number, "refreshed", `{"event":"failed","kind":"`+kind+`","code":40125,"error":"x","failures":`+number+
				`,"at":"`+time.Now().UTC().Format(time.RFC3339)+`","fence":`+number+`,"retry_ms":`+number+`}`)
		}
		add("throttled, "+number, "refreshed", `{"event":"throttled","limit":"daily budget","reason":"forced","retry_ms":`+number+`}`)
		add("begun, "+number, "begun", `{"event":"begun","fence":`+number+`,"deadline_ms":`+number+`}`)
		add("begun, at once, "+number, "begun", `{"event":"begun","fence":`+number+`,"deadline_ms":1}`)
		for _, reason := range []string{"forced", "rejected", "missing", "nonsense"} {
			add(reason+", "+number, "wanted", `{"event":"wanted","reason":"`+reason+`","fence":`+number+`,"generation":`+number+`}`)
		}
	}
	return all
}

// laboratory is a refresher and readers, each with the rights of the documentation, and
// an account for each poison.
type laboratory struct {
	server    *redistest.Server
	store     *redisstore.Store
	attackers []attacker // those with the least rights first
	refresher *coordinator.Coordinator
	readers   map[string]*coordinator.Account
	sources   map[string]*coordinatortest.Source
	rows      map[string]poison
}

// attacker is somebody who poisons, with the rights of a role.
type attacker struct {
	rights string
	client *redis.Client
}

// rights returns the least rights with which the poison can be brought in: what
// they are not enough for is refused by Redis.
func (p poison) rights() string {
	switch command, key := p.do[0].(string), p.do[1].(string); {
	case command == "publish" && strings.HasSuffix(key, ":wanted"):
		return "a reader's, with the right to demand"
	case command == "lpush", command == "sadd", command == "persist":
		return "an administrator's"
	}
	return "a refresher's"
}

func newLaboratory(t *testing.T, rows []poison) *laboratory {
	t.Helper()
	l := &laboratory{
		server: redistest.Start(t), readers: map[string]*coordinator.Account{},
		sources: map[string]*coordinatortest.Source{}, rows: map[string]poison{},
	}
	mayRefresh := l.server.AddUser(t, "refresher", redisadmin.RequiredACL("", coordinator.Refresher)...)
	mayRead := l.server.AddUser(t, "reader", append(redisadmin.RequiredACL("", coordinator.Reader), redisadmin.DemandACL(""))...)
	for _, a := range [][2]string{
		{"a reader's, with the right to demand", mayRead}, {"a refresher's", mayRefresh}, {"an administrator's", l.server.URL()},
	} {
		o, err := redis.ParseURL(a[1])
		if err != nil {
			t.Fatal(err)
		}
		o.DisableIdentity = true
		client := redis.NewClient(o)
		t.Cleanup(func() { _ = client.Close() })
		l.attackers = append(l.attackers, attacker{a[0], client})
	}
	l.store = open(t, l.server.URL(), redisstore.Options{})
	var asRefresher, asReader []coordinator.AccountConfig
	for i, row := range append(rows, poison{name: "control"}) {
		name := "wx" + strconv.Itoa(i)
		l.rows[name], l.sources[name] = row, new(coordinatortest.Source)
		asRefresher = append(asRefresher, coordinator.AccountConfig{Name: name, Source: l.sources[name]})
		asReader = append(asReader, coordinator.AccountConfig{Name: name})
	}
	l.refresher = runCoordinator(t, coordinator.Config{
		Store: open(t, mayRefresh, redisstore.Options{}), Accounts: asRefresher, PollEvery: time.Second,
	})
	// So few in each process that all have their turn to be read, for what no operation has changed, each second.
	for few := range slices.Chunk(asReader, 60) {
		reader := runCoordinator(t, coordinator.Config{Store: open(t, mayRead, redisstore.Options{}), Accounts: few, PollEvery: time.Second})
		for _, a := range reader.Accounts() {
			l.readers[a.Name()] = a
		}
	}
	return l
}

// runCoordinator runs a coordinator until the test ends.
func runCoordinator(t *testing.T, cfg coordinator.Config) *coordinator.Coordinator {
	t.Helper()
	c, err := coordinator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) }) // ends with ctx; waited for when the test ends
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

// TestEverythingPoisoned poisons each key and each message with each kind of
// value. For each of them either the account goes on, or its error names the key
// and deleting that helps. No token but the source's is ever served, fences stay
// near the clock, few calls are made, and the others go on.
func TestEverythingPoisoned(t *testing.T) {
	l := newLaboratory(t, poisons())
	for name, row := range l.rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			account, _ := l.refresher.Account(name)
			if _, err := account.Token(ctx); err != nil {
				t.Fatal(err)
			}
			l.poison(t, name, row)
			l.check(ctx, t, name, row)
		})
	}
}

func (l *laboratory) poison(t *testing.T, account string, row poison) {
	t.Helper()
	if row.do == nil {
		return
	}
	args := make([]any, len(row.do))
	for i, arg := range row.do {
		if text, ok := arg.(string); ok {
			arg = strings.ReplaceAll(text, "ACCOUNT", account)
		}
		args[i] = arg
	}
	if len(args) > 1 && strings.Contains(row.name, "of the wrong type") {
		l.server.MustDo(t, "del", args[1])
	}
	for _, a := range l.attackers {
		err := a.client.Do(t.Context(), args...).Err()
		if redis.IsPermissionError(err) && a.rights != row.rights() {
			continue
		}
		if err != nil || a.rights != row.rights() {
			t.Fatalf("with %s rights: %v, want it to take %s", a.rights, err, row.rights())
		}
		return
	}
}

// check holds what came of a poison against the table.
func (l *laboratory) check(ctx context.Context, t *testing.T, name string, row poison) {
	t.Helper()
	account, _ := l.refresher.Account(name)
	reader := l.readers[name]
	record, err := account.Refresh(ctx)
	var data *redisstore.DataError
	var throttled *coordinator.ThrottledError
	switch row.want {
	case goesOn:
		if err != nil {
			t.Fatalf("Refresh() = %v, want it to go on", err)
		}
	case named:
		if !errors.As(err, &data) {
			t.Fatalf("Refresh() = %v, want a *DataError", err)
		}
		if !strings.Contains(err.Error(), "redis-cli del '"+data.Key+"'") || strings.ContainsAny(err.Error(), "\x1b\x07\n") {
			t.Errorf("the error does not say what to do, or shows the poison: %q", err)
		}
		eventually(t, "the reader says it, too", patience, func() bool { return row.onlyWritten() || reader.Status().Err != nil })
		l.server.MustDo(t, "del", data.Key)
	case noBudget:
		if !errors.As(err, &throttled) || throttled.Limit != coordinator.LimitBudget {
			t.Fatalf("Refresh() = %v, want the daily budget", err)
		}
		l.server.MustDo(t, "del", row.do[1].(string), strings.ReplaceAll(row.do[1].(string), "ACCOUNT", name))
	}
	if row.want != goesOn {
		eventually(t, "a refresh succeeds after the repair", patience, func() bool {
			record, err = account.Refresh(ctx)
			return err == nil
		})
	}
	source := l.sources[name]
	eventually(t, "both processes serve what the source issued last", patience, func() bool {
		here, err1 := account.Token(ctx)
		there, err2 := reader.Token(ctx)
		return err1 == nil && err2 == nil && here.Equal(source.Current()) && there.Equal(source.Current())
	})
	if now := coordinator.Fence(time.Now().Add(time.Minute).UnixMicro()); record.Generation == 0 || record.Generation > now+3_600_000_000 {
		t.Errorf("the generation is %d at %d", record.Generation, now)
	}
	if n := len(source.Calls()); n > 6 {
		t.Errorf("%d calls to the source", n)
	}
	if s := loaded(t, l.store, name); s.Err != nil || !s.Record.Token.Equal(source.Current()) || len(s.Open) > 1 {
		t.Errorf("the store holds %+v", s)
	}
}

// onlyWritten reports whether the poison is in what readers do not read.
func (p poison) onlyWritten() bool {
	for _, field := range []string{"demanded_at", "paced_until", "last_error_at", "failures", "retry_at"} {
		if strings.HasPrefix(p.name, "state."+field+" ") {
			return true
		}
	}
	return false
}
