package redisstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

const grantKey = "zhongkong-grant:{a}"

func TestADamagedGrantIsNamedAndNothingOfItIsLost(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	g := consented(t, store, "a", "SECRET")
	elsewhere := consented(t, store, "b", "OTHER")
	foreign := server.MustDo(t, "hget", "zhongkong-grant:{b}", "record")
	client := server.Client()
	defer client.Close()
	for name, damage := range map[string]struct {
		command []any
		field   string
	}{
		"not a hash":              {[]any{"set", grantKey, "SECRET"}, ""},
		"a version of words":      {[]any{"hset", grantKey, "version", "SECRET"}, "version"},
		"a version out of range":  {[]any{"hset", grantKey, "version", "99999999999999999999"}, "version"},
		"no version":              {[]any{"hdel", grantKey, "version"}, "version"},
		"another version":         {[]any{"hset", grantKey, "version", "7"}, "sealed"},
		"another consent":         {[]any{"hset", grantKey, "consent", "7"}, "consent"},
		"another save":            {[]any{"hset", grantKey, "save_id", "SECRET"}, "save_id"},
		"no record":               {[]any{"hdel", grantKey, "record"}, "record"},
		"a plain record":          {[]any{"hset", grantKey, "record", string(coordinator.EncodeGrant(g))}, "sealed"},
		"another account's":       {[]any{"hset", grantKey, "record", foreign}, "sealed"},
		"a state that is no hash": {[]any{"set", "zhongkong:{a}:state", "SECRET"}, "state"},
	} {
		t.Run(name, func(t *testing.T) {
			before, dump := client.Dump(t.Context(), grantKey).Val(), client.Dump(t.Context(), "zhongkong:{a}:state").Val()
			server.MustDo(t, "del", damage.command[1]) // a set replaces what is there, the others change a field
			if damage.command[0] != "set" {
				server.MustDo(t, "restore", grantKey, 0, before)
			}
			server.MustDo(t, damage.command...)
			damaged := fmt.Sprint(client.HGetAll(t.Context(), grantKey))
			_, loadErr := store.LoadGrant(t.Context(), "a")
			_, readErr := redisadmin.New(store).SealedGrant(t.Context(), "a")
			if (readErr == nil) != (loadErr == nil) || readErr != nil && !strings.Contains(readErr.Error(), "redis-cli del '"+grantKey+"'") {
				t.Errorf("SealedGrant() = %v, LoadGrant() = %v, want both to fail or none, and what to delete", readErr, loadErr)
			}
			next, _ := marked(t, g)
			saveErr := saveGrant(t, store, "a", next)
			errs := []error{loadErr, saveErr}
			switch {
			case damage.field == "state":
				errs = errs[1:] // the grant itself can be read
			case saveErr == nil || errors.Is(saveErr, coordinator.ErrGrantChanged):
				errs = errs[:1] // the order could be read, and that is all that a save looks at
			}
			for _, err := range errs {
				var data *redisstore.DataError
				isData := errors.As(err, &data) && (data.Key == grantKey && data.Field == damage.field || damage.field == "state" && data.Key == "zhongkong:{a}:state")
				isSealed := damage.field == "sealed" && errors.Is(err, coordinator.ErrSealed)
				if !isData && !isSealed {
					t.Errorf("the error is %v, want it to name the field %q", err, damage.field)
				}
				if err != nil && (strings.Contains(err.Error(), "SECRET") || damage.field != "state" && strings.Contains(err.Error(), "it is written again")) {
					t.Errorf("the error is %v", err)
				}
			}
			if after := fmt.Sprint(client.HGetAll(t.Context(), grantKey)); saveErr != nil && after != damaged {
				t.Errorf("a save that failed has changed the key from %s to %s", damaged, after)
			}
			server.MustDo(t, "del", grantKey, "zhongkong:{a}:state")
			server.MustDo(t, "restore", grantKey, 0, before)
			server.MustDo(t, "restore", "zhongkong:{a}:state", 0, dump)
		})
	}
	sameGrant(t, "what is left", readGrant(t, store, "a").Grant, g)
	sameGrant(t, "the other", readGrant(t, store, "b").Grant, elsewhere)
	for _, text := range []string{"SECRET", "[]", "{}", `{"Version":99999999999999999}`} {
		server.MustDo(t, "hset", "zhongkong:{a}:state", "grant", text)
		var data *redisstore.DataError
		if s := loaded(t, store, "a"); !errors.As(s.Err, &data) || data.Field != "grant" || s.Grant != nil || strings.Contains(s.Err.Error(), "SECRET") {
			t.Errorf("with %s State.Err = %v, want it to name the field", text, s.Err)
		}
	}
}

// A program that can write to Redis must not be able to have a grant served as a token.
func TestASealedGrantIsNoSealedToken(t *testing.T) {
	server := redistest.Start(t)
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	g := consented(t, store, "a", "SECRET")
	record := refreshed(t, store, "a", "token")
	token := server.MustDo(t, "hget", "zhongkong:{a}:token", "access_token")
	server.MustDo(t, "hset", "zhongkong:{a}:token", "access_token", server.MustDo(t, "hget", grantKey, "record"), "generation", g.Version)
	if s := loaded(t, store, "a"); !errors.Is(s.Err, coordinator.ErrSealed) || !s.Record.Token.IsZero() {
		t.Errorf("a grant in the place of a token is read as %v, %v", s.Record, s.Err)
	}
	server.MustDo(t, "hset", grantKey, "record", token, "version", uint64(record.Generation))
	if r, err := store.LoadGrant(t.Context(), "a"); !errors.Is(err, coordinator.ErrSealed) {
		t.Errorf("a token in the place of a grant is read as %v, %v", r.Grant.Version, err)
	}
}

func TestAGrantIsSealedAgainWithTheNewKey(t *testing.T) {
	server := redistest.StartProxy(t, redistest.Start(t), func([]string) string { return "" })
	var confirmed atomic.Int32 // writes
	server.Answer = func(command []string) string {
		if strings.EqualFold(command[0], "waitaof") {
			confirmed.Add(1)
		}
		return ""
	}
	older, newer := seal.NewLine(time.Now()), seal.NewLine(time.Now())
	with := func(lines ...string) *redisstore.Store {
		return openGrants(t, server.URL(), time.Minute, redisstore.Options{Sealer: ring(t, lines...)})
	}
	kid := func(line string) string { before, _, _ := strings.Cut(line, ":"); return before }
	sealedBy := func(store *redisstore.Store) string {
		t.Helper()
		sealed, err := redisadmin.New(store).SealedGrant(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		return seal.Kid(sealed)
	}
	g := consented(t, with(older), "a", "r0")
	both := with(older, newer) // the new line is at the bottom
	readGrant(t, both, "a")
	if got := sealedBy(both); got != kid(older) {
		t.Errorf("sealed with %q, want the old key", got)
	}
	if _, err := with(newer).LoadGrant(t.Context(), "a"); !errors.Is(err, coordinator.ErrSealed) || !strings.Contains(err.Error(), kid(older)) {
		t.Errorf("LoadGrant() without the key = %v, want %v that names the key", err, coordinator.ErrSealed)
	}
	before := confirmed.Load()
	readGrant(t, with(newer, older), "a") // the new line is at the top
	if n := confirmed.Load() - before; n != 0 {
		t.Errorf("LoadGrant() waits for %d confirmations, want none: a presentation has no time for them", n)
	}
	if got := sealedBy(both); got != kid(newer) {
		t.Errorf("sealed with %q, want the new key", got)
	}
	alone := with(newer)
	sameGrant(t, "the grant that was sealed again", readGrant(t, alone, "a").Grant, g)
	next, _ := marked(t, g)
	saved(t, alone, "a", next)
}

func TestTheRemedyOfAGrantWhoseKeyIsLostHelps(t *testing.T) {
	server := redistest.Start(t)
	line := seal.NewLine(time.Now())
	before := openGrants(t, server.URL(), time.Minute, redisstore.Options{Sealer: ring(t, line)})
	consented(t, before, "a", "r0")
	kid, _, _ := strings.Cut(line, ":")
	_, otherKey, _ := strings.Cut(seal.NewLine(time.Now()), ":")
	for name, keys := range map[string]string{"no key of that name": seal.NewLine(time.Now()), "another key of that name": kid + ":" + otherKey} {
		store := openGrants(t, server.URL(), time.Minute, redisstore.Options{Sealer: ring(t, keys)})
		_, err := store.LoadGrant(t.Context(), "a")
		if !errors.Is(err, coordinator.ErrSealed) || !strings.Contains(err.Error(), "redis-cli del '"+grantKey+"'") {
			t.Errorf("with %s LoadGrant() = %v, want %v and what to delete", name, err, coordinator.ErrSealed)
		}
		sealed, readErr := redisadmin.New(store).SealedGrant(t.Context(), "a")
		if seal.Kid(sealed) != kid || !errors.Is(readErr, coordinator.ErrSealed) || !strings.Contains(readErr.Error(), "redis-cli del '"+grantKey+"'") {
			t.Errorf("with %s SealedGrant() = of key %q, %v, want key %q and the same error", name, seal.Kid(sealed), readErr, kid)
		}
	}
	server.MustDo(t, "del", grantKey)
	after := openGrants(t, server.URL(), time.Minute, redisstore.Options{Sealer: ring(t, seal.NewLine(time.Now()))})
	g := consented(t, after, "a", "r1")
	sameGrant(t, "the grant of the new consent", readGrant(t, after, "a").Grant, g)
}

func TestAGrantThatIsTooLongToBeOpenedIsNotStored(t *testing.T) {
	store := openGrants(t, redistest.Start(t).URL(), time.Minute, redisstore.Options{})
	g := coordinator.Grant{}.Consented(coordinator.Consent{Token: coordinator.NewToken(strings.Repeat("A", 60_000))}, time.Now())
	if err := saveGrant(t, store, "a", g); err == nil || strings.Contains(err.Error(), "AAAA") {
		t.Errorf("SaveGrant() of 60 kB = %v, want an error", err)
	}
	if r := readGrant(t, store, "a"); r.Grant.Version != 0 {
		t.Errorf("version %d was stored", r.Grant.Version)
	}
}

func TestTheVersionBeforeIgnoresGrants(t *testing.T) {
	server := redistest.Start(t)
	next := heard(t, server, "zhongkong:{a}:refreshed")
	store := openGrants(t, server.URL(), time.Minute, redisstore.Options{})
	consented(t, store, "a", "SECRET")
	message := next()
	var m olderMessage
	if err := json.Unmarshal([]byte(message.Payload), &m); err != nil || m.Event != "grant" || m.AccessToken != "" || m.Generation != 0 || m.Fence != 0 {
		t.Errorf("the version before reads %s as %+v, %v", message.Payload, m, err)
	}
	if strings.Contains(message.Payload, "SECRET") || strings.Contains(message.Payload, "record") {
		t.Errorf("the notification is %s", message.Payload)
	}

	// A process that does not know a kind of event reads the account, and goes on.
	_, follower := followed(t, store, coordinator.Reader, "a")
	subscribed, _, events := follower.counts()
	server.MustDo(t, "publish", "zhongkong:{a}:refreshed", strings.Replace(message.Payload, `"grant"`, `"later"`, 1))
	eventually(t, "the account is read", patience, func() bool { now, _, _ := follower.counts(); return now > subscribed })
	record := refreshed(t, store, "a", "token")
	eventually(t, "the next event", patience, func() bool { return follower.saw(coordinator.EventRefreshed, record.Generation) })
	if _, _, now := follower.counts(); now-events > 2 { // begun is for refreshers only
		t.Errorf("%d events", now-events)
	}
}
