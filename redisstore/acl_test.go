package redisstore_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

func TestRefresherNeedsNoMoreThanItsRules(t *testing.T) {
	t.Parallel() // it mostly waits
	server := redistest.Start(t)
	url := server.AddUser(t, "refresher", redisadmin.RequiredACL("", coordinator.Refresher)...)
	coordinatortest.TestStore(t, func(t *testing.T) coordinator.Store {
		return open(t, url, redisstore.Options{})
	})
	store := open(t, url, redisstore.Options{})
	if _, err := redisadmin.New(store).History(t.Context(), "a", 1); err != nil {
		t.Error(err)
	}
	if _, err := redisadmin.New(store).Accounts(t.Context()); err != nil {
		t.Error(err)
	}
	if missing, err := redisadmin.New(store).MissingACL(t.Context(), coordinator.Refresher); err != nil || len(missing) > 0 {
		t.Errorf("MissingACL() = %v, %v, want none", missing, err)
	}
	wantNoDenial(t, server)
}

// wantNoDenial fails the test if Redis has denied anything.
func wantNoDenial(t *testing.T, server *redistest.Server) {
	t.Helper()
	if log := server.MustDo(t, "acl", "log").([]any); len(log) > 0 {
		t.Errorf("ACL LOG = %v", log)
	}
}

func TestReaderNeedsNoMoreThanItsRules(t *testing.T) {
	server := redistest.Start(t)
	reader := open(t, server.AddUser(t, "reader", redisadmin.RequiredACL("", coordinator.Reader)...), redisstore.Options{})
	refresher := open(t, server.URL(), redisstore.Options{})
	_, r := followed(t, reader, coordinator.Reader, "a")
	record := refreshed(t, refresher, "a", "token")
	eventually(t, "Notified", patience, func() bool { return r.saw(coordinator.EventRefreshed, record.Generation) })
	if s := loaded(t, reader, "a"); s.Record.Generation != record.Generation {
		t.Errorf("Load() = generation %d, want %d", s.Record.Generation, record.Generation)
	}
	if _, err := reader.Load(t.Context(), "a", "b"); err != nil {
		t.Error(err)
	}
	if entries, err := redisadmin.New(reader).History(t.Context(), "a", 5); err != nil || len(entries) != 1 {
		t.Errorf("History() = %v, %v", entries, err)
	}
	if accounts, err := redisadmin.New(reader).Accounts(t.Context()); err != nil || !slices.Equal(accounts, []string{"a"}) {
		t.Errorf("Accounts() = %v, %v", accounts, err)
	}
	if missing, err := redisadmin.New(reader).MissingACL(t.Context(), coordinator.Reader); err != nil || len(missing) > 0 {
		t.Errorf("MissingACL() = %v, %v, want none", missing, err)
	}
	wantNoDenial(t, server)
}

// The rules of the version before did not have +psubscribe.
func TestWithoutTheRightToPatternsEachChannelIsSubscribed(t *testing.T) {
	server := redistest.Start(t)
	for _, role := range []coordinator.Role{coordinator.Reader, coordinator.Refresher} {
		rules := slices.DeleteFunc(redisadmin.RequiredACL("", role), func(rule string) bool {
			return rule == "+psubscribe" || rule == "+punsubscribe"
		})
		store := open(t, server.AddUser(t, "old-"+string(role), rules...), redisstore.Options{})
		_, r := followed(t, store, role, many()...)
		record := refreshed(t, open(t, server.URL(), redisstore.Options{}), "wx7", "token")
		eventually(t, "Notified", patience, func() bool { return r.saw(coordinator.EventRefreshed, record.Generation) })
		if _, lost, _ := r.counts(); lost != 0 {
			t.Errorf("Lost was called %d times, want never", lost)
		}
		if missing, err := redisadmin.New(store).MissingACL(t.Context(), role); err != nil || len(missing) > 0 {
			t.Errorf("MissingACL() = %v, %v, want none", missing, err)
		}
	}
	if _, patterns := channelsOf(t, server); patterns != 0 {
		t.Errorf("%d patterns are subscribed", patterns)
	}
}

func TestWithTheRulesManyAccountsAreSubscribedByPatterns(t *testing.T) {
	server := redistest.Start(t)
	for role, want := range map[coordinator.Role]int64{coordinator.Reader: 1, coordinator.Refresher: 3} {
		store := open(t, server.AddUser(t, "new-"+string(role), redisadmin.RequiredACL("", role)...), redisstore.Options{})
		followed(t, store, role, many()...)
		if channels, patterns := channelsOf(t, server); channels != 0 || patterns < want {
			t.Errorf("%s: %d channels and %d patterns are subscribed, want %d patterns", role, channels, patterns, want)
		}
	}
	wantNoDenial(t, server)
}

func TestReaderThatMayDemandNeedsOneRuleMore(t *testing.T) {
	server := redistest.Start(t)
	rules := redisadmin.RequiredACL("", coordinator.Reader)
	url := server.AddUser(t, "reader", rules...)
	reader, refresher := open(t, url, redisstore.Options{}), open(t, server.URL(), redisstore.Options{})
	_, asked := followed(t, refresher, coordinator.Refresher, "a")
	want := coordinator.WantRequest{Reason: coordinator.ReasonForced}
	err := reader.Want(t.Context(), "a", want)
	one, all := redisadmin.DemandACL("", "a"), redisadmin.DemandACL("")
	if !errors.Is(err, redisstore.ErrDenied) || !strings.Contains(err.Error(), "with the rule "+one+", or, for all accounts, "+all) {
		t.Errorf("Want() = %v, want %v naming %s and then %s", err, redisstore.ErrDenied, one, all)
	}
	server.MustDo(t, "acl", "setuser", "reader", one)
	if err := reader.Want(t.Context(), "a", want); err != nil {
		t.Error(err)
	}
	if err := reader.Want(t.Context(), "b", want); !errors.Is(err, redisstore.ErrDenied) {
		t.Errorf("Want() of another account = %v, want %v", err, redisstore.ErrDenied)
	}
	server.MustDo(t, "acl", "setuser", "reader", redisadmin.DemandACL("", "b", "c"))
	for _, account := range []string{"a", "b", "c"} {
		if err := reader.Want(t.Context(), account, want); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the refresher is asked", patience, func() bool { return asked.saw(coordinator.EventWanted, 0) })
}

func TestReaderCanChangeNothing(t *testing.T) {
	server := redistest.Start(t)
	reader := open(t, server.AddUser(t, "reader", redisadmin.RequiredACL("", coordinator.Reader)...), redisstore.Options{})
	record := refreshed(t, open(t, server.URL(), redisstore.Options{}), "a", "token")
	for name, try := range map[string]func() error{
		"Lock":  func() error { _, err := reader.Lock(t.Context(), "a", time.Second); return err },
		"Begin": func() error { _, err := reader.Begin(t.Context(), "a", coordinator.BeginRequest{TTL: 1}); return err },
		"Commit": func() error {
			_, err := reader.Commit(t.Context(), "a", of(coordinator.Attempt{Fence: 7}, "x"))
			return err
		},
	} {
		if err := try(); !errors.Is(err, redisstore.ErrDenied) || errors.Is(err, coordinator.ErrUnreachable) {
			t.Errorf("%s() as a reader = %v, want %v alone", name, err, redisstore.ErrDenied)
		}
	}
	url := redistest.AsUser(t, server.URL(), "reader")
	for _, command := range [][]any{
		{"publish", "zhongkong:{a}:refreshed", "{}"},
		{"publish", "zhongkong:{a}:wanted", "{}"},
		{"eval_ro", "while true do end", 0},
		{"evalsha_ro", "0123456789012345678901234567890123456789", 0},
		{"fcall_ro", "f", 0},
		{"script", "load", "return 1"},
		{"publish", "zhongkong:{a}:begun", "{}"},
		{"subscribe", "zhongkong:{a}:wanted"},
		{"hset", "zhongkong:{a}:token", "access_token", "mine"},
		{"eval", "return redis.call('del', KEYS[1])", 1, "zhongkong:{a}:token"},
		{"eval_ro", "return redis.call('get', KEYS[1])", 1, "other"},
		{"get", "other"},
		{"keys", "*"},
		{"config", "get", "*"},
	} {
		if err := doAs(t, url, command...); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%v as a reader: %v, want NOPERM", command, err)
		}
	}
	if s := loaded(t, reader, "a"); !s.Record.Token.Equal(record.Token) {
		t.Error("the token has changed")
	}
}

func TestMissingRuleIsNamed(t *testing.T) {
	server := redistest.Start(t)
	for _, role := range []coordinator.Role{coordinator.Reader, coordinator.Refresher} {
		rules := redisadmin.RequiredACL("", role)
		for i, rule := range rules[3:] {
			// Unprivileged of one rule at a time.
			left := slices.Delete(slices.Clone(rules), i+3, i+4)
			store := open(t, server.AddUser(t, "user", left...), redisstore.Options{})
			missing, err := redisadmin.New(store).MissingACL(t.Context(), role)
			if err != nil {
				t.Errorf("%s without %s: %v", role, rule, err)
			}
			want := []string{rule}
			if rule == "+psubscribe" || rule == "+punsubscribe" { // a process does without; see there
				want = nil
			}
			if !slices.Equal(missing, want) {
				t.Errorf("%s without %s: MissingACL() = %v", role, rule, missing)
			}
		}
	}
	if keys := server.MustDo(t, "dbsize"); keys != int64(0) {
		t.Errorf("trying has left %v keys", keys)
	}
}

func TestRulesOfSingleAccountsAreEnoughForThese(t *testing.T) {
	server := redistest.Start(t)
	for _, role := range []coordinator.Role{coordinator.Reader, coordinator.Refresher} {
		rules := redisadmin.RequiredACL("", role, "a", "b")
		admin := redisadmin.New(open(t, server.AddUser(t, "user", rules...), redisstore.Options{}))
		for _, c := range []struct{ accounts, want []string }{
			{[]string{"a", "b"}, nil},
			{[]string{"b", "c"}, slices.DeleteFunc(redisadmin.RequiredACL("", role, "c"), func(rule string) bool {
				return !strings.Contains(rule, "{c}")
			})},
		} {
			if missing, err := admin.MissingACL(t.Context(), role, c.accounts...); err != nil || !slices.Equal(missing, c.want) {
				t.Errorf("%s of %s: MissingACL() = %v, %v, want %v", role, c.accounts, missing, err, c.want)
			}
		}
		if missing, err := admin.MissingACL(t.Context(), role); err != nil || !slices.Contains(redisadmin.RequiredACL("", role), missing[0]) {
			t.Errorf("%s: MissingACL() of all accounts = %v, %v", role, missing, err)
		}
		if _, err := admin.MissingACL(t.Context(), role, "a}b"); err == nil {
			t.Errorf("%s: MissingACL() accepts what is no name", role)
		}
	}
	if keys := server.MustDo(t, "dbsize"); keys != int64(0) {
		t.Errorf("trying has left %v keys", keys)
	}
}

func TestMissingRuleOfASingleAccountIsNamed(t *testing.T) {
	server := redistest.Start(t)
	for _, role := range []coordinator.Role{coordinator.Reader, coordinator.Refresher} {
		rules := redisadmin.RequiredACL("", role, "a", "b")
		for i, rule := range rules[3:] {
			left := slices.Delete(slices.Clone(rules), i+3, i+4)
			store := open(t, server.AddUser(t, "user", left...), redisstore.Options{})
			missing, err := redisadmin.New(store).MissingACL(t.Context(), role, "a", "b")
			want := []string{rule}
			if rule == "+psubscribe" || rule == "+punsubscribe" {
				want = nil
			}
			if err != nil || !slices.Equal(missing, want) {
				t.Errorf("%s without %s: MissingACL() = %v, %v", role, rule, missing, err)
			}
		}
	}
}

// The rules of single accounts cover no keys that all of them share, unless one rule more does.
func TestWithOneRuleMoreAUserOfSingleAccountsHasWhatTheyShare(t *testing.T) {
	server := redistest.Start(t)
	for role, rule := range map[coordinator.Role]string{coordinator.Refresher: "~zhongkong:{}:*", coordinator.Reader: "%R~zhongkong:{}:*"} {
		rules := redisadmin.RequiredACL("", role, "a")
		url := server.AddUser(t, string(role), rules...)
		if missing, err := redisadmin.New(open(t, url, redisstore.Options{})).MissingSharedACL(t.Context(), role); err != nil || !slices.Equal(missing, []string{rule}) {
			t.Errorf("%s: MissingSharedACL() = %v, %v, want %s", role, missing, err, rule)
		}
		server.MustDo(t, "acl", "setuser", string(role), rule)
		store := open(t, url, redisstore.Options{})
		if missing, err := redisadmin.New(store).MissingSharedACL(t.Context(), role); err != nil || len(missing) > 0 {
			t.Errorf("%s: MissingSharedACL() = %v, %v, want none", role, missing, err)
		}
		if _, err := store.Newest(t.Context()); err != nil {
			t.Errorf("%s: Newest() = %v", role, err)
		}
		if role == coordinator.Refresher {
			refreshed(t, store, "a", "token")
		}
	}
	if n := server.MustDo(t, "xlen", "zhongkong:{}:log"); n != int64(1) {
		t.Errorf("the log of all accounts has %v entries, want 1", n)
	}
	if n := server.MustDo(t, "exists", changesKey); n != int64(1) {
		t.Error("there is no index of changes")
	}
}

func TestDenialsNameTheRule(t *testing.T) {
	server := redistest.Start(t)
	for name, test := range map[string]struct{ without, want string }{
		"a command":       {"+hmget", "+hmget"},
		"the transaction": {"+multi", "+multi"},
		"its end":         {"+exec", "+exec"},
		"the keys":        {"%R~zhongkong:{*}:*", "zhongkong:{*}:*"},
	} {
		rules := slices.DeleteFunc(redisadmin.RequiredACL("", coordinator.Reader), func(rule string) bool { return rule == test.without })
		store := open(t, server.AddUser(t, "user", rules...), redisstore.Options{})
		_, err := store.Load(t.Context(), "a")
		if !errors.Is(err, redisstore.ErrDenied) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Load() = %v, want %v naming %s", name, err, redisstore.ErrDenied, test.want)
		}
	}
}

func TestDeniedSubscriptionIsReported(t *testing.T) {
	server := redistest.Start(t)
	rules := slices.DeleteFunc(redisadmin.RequiredACL("", coordinator.Reader),
		func(rule string) bool { return strings.HasPrefix(rule, "&") })
	store := open(t, server.AddUser(t, "user", rules...), redisstore.Options{})
	r := new(recorder)
	sub := store.Subscribe(r)
	sub.Add(coordinator.Reader, "a")
	run(t, sub)
	eventually(t, "Lost", patience, func() bool { return r.lastLost() != nil })
	if err := r.lastLost(); !errors.Is(err, redisstore.ErrDenied) || !strings.Contains(err.Error(), "zhongkong:{*}:refreshed") {
		t.Errorf("Lost(%v), want %v naming the channel rule", err, redisstore.ErrDenied)
	}
	// Mended by the operator: it flows again without a restart.
	server.MustDo(t, "acl", "setuser", "user", "&zhongkong:{*}:refreshed")
	eventually(t, "Subscribed", patience, func() bool { return r.follows(0, "a") })
	if _, lost, _ := r.counts(); lost != 1 {
		t.Errorf("Lost was called %d times, want once", lost)
	}
}

func TestWrongPasswordIsSaid(t *testing.T) {
	server := redistest.Start(t)
	url := strings.Replace(server.AddUser(t, "user", "+@all"), "secret", "WRONG-SECRET", 1)
	_, err := open(t, url, redisstore.Options{}).Load(t.Context(), "a")
	if !errors.Is(err, redisstore.ErrDenied) || !errors.Is(err, coordinator.ErrUnreachable) || !strings.Contains(err.Error(), "password") {
		t.Errorf("Load() = %v, want %v and %v", err, redisstore.ErrDenied, coordinator.ErrUnreachable)
	}
	if strings.Contains(err.Error(), "WRONG-SECRET") {
		t.Errorf("Load() = %v, which shows the password", err)
	}
}
