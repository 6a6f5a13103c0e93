package redisstore_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// envelope has the form of a sealer's results without any secrecy.
type envelope struct{}

func (envelope) Seal(b redisstore.Binding, t coordinator.Token) (string, error) {
	return "eyJ." + base64.RawURLEncoding.EncodeToString([]byte(b.Account)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(t.Reveal())) + "..", nil
}

func (envelope) Open(b redisstore.Binding, sealed string) (coordinator.Token, error) {
	parts := strings.Split(sealed, ".")
	who, _ := base64.RawURLEncoding.DecodeString(parts[1])
	text, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || string(who) != b.Account {
		return coordinator.Token{}, errors.New("of another account")
	}
	return coordinator.NewToken(string(text)), nil
}

func TestSealedTokensTravelSealed(t *testing.T) {
	const secret = "SECRET-TOKEN"
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{Sealer: envelope{}})
	_, r := followed(t, store, coordinator.Reader, "a")
	next := heard(t, server, "*:refreshed")
	record := refreshed(t, store, "a", secret)
	if got := server.MustDo(t, "hget", "zhongkong:{a}:token", "access_token").(string); strings.Contains(got, secret) {
		t.Error("the token is readable in Redis")
	}
	if strings.Contains(next().Payload, secret) {
		t.Error("the token is readable in the notification")
	}
	if got := loaded(t, store, "a").Record.Token.Reveal(); got != secret {
		t.Errorf("the loaded token is %q", got)
	}
	if got := record.Token.Reveal(); got != secret {
		t.Errorf("the committed token is %q", got)
	}
	eventually(t, "Notified", patience, func() bool { return r.saw(coordinator.EventRefreshed, record.Generation) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.events[len(r.events)-1].Record.Token.Reveal(); got != secret {
		t.Errorf("the notified token is %q", got)
	}
}

func TestProcessesThatDisagreeAboutSealingRefuse(t *testing.T) {
	server := redistest.Start(t)
	sealing := open(t, server.URL(), redisstore.Options{Sealer: envelope{}})
	plain := open(t, server.URL(), redisstore.Options{})
	refreshed(t, sealing, "a", "SECRET-TOKEN")
	refreshed(t, plain, "b", "SECRET-TOKEN")
	sealed := server.MustDo(t, "hget", "zhongkong:{a}:token", "access_token")
	server.MustDo(t, "hset", "zhongkong:{b}:token", "access_token", "SECRET-TOKEN")
	refreshed(t, sealing, "moved", "x")
	server.MustDo(t, "hset", "zhongkong:{moved}:token", "access_token", sealed)
	for name, load := range map[string]func() ([]coordinator.State, error){
		"a sealed token without a key":      func() ([]coordinator.State, error) { return plain.Load(t.Context(), "a") },
		"a plain token with a key":          func() ([]coordinator.State, error) { return sealing.Load(t.Context(), "b") },
		"a sealed token of another account": func() ([]coordinator.State, error) { return sealing.Load(t.Context(), "moved") },
	} {
		states, err := load()
		if err != nil {
			t.Fatalf("%s: Load() = %v", name, err)
		}
		if err = states[0].Err; !errors.Is(err, coordinator.ErrSealed) {
			t.Errorf("%s: %v, want %v", name, err, coordinator.ErrSealed)
		} else if states[0].Record.Generation == 0 || states[0].Record.Usable() {
			t.Errorf("%s: record %+v, want its generation alone", name, states[0].Record)
		} else if strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), sealed.(string)) {
			t.Errorf("%s: the error shows it: %v", name, err)
		}
	}
}

// steps are those by which a fleet is switched from plain tokens to sealed ones.
var steps = []struct {
	name string
	redisstore.Options
	seals bool
}{
	{"off", redisstore.Options{}, false},
	{"allow", redisstore.Options{Sealer: envelope{}, Sealing: redisstore.SealAllow}, false},
	{"prefer", redisstore.Options{Sealer: envelope{}, Sealing: redisstore.SealPrefer}, true},
	{"require", redisstore.Options{Sealer: envelope{}}, true},
}

func TestProcessesOneStepApartReadEachOther(t *testing.T) {
	server := redistest.Start(t)
	stores := make([]*redisstore.Store, len(steps))
	for i, step := range steps {
		stores[i] = open(t, server.URL(), step.Options)
	}
	for i, writer := range steps {
		record := refreshed(t, stores[i], "a", "from "+writer.name)
		stored := server.MustDo(t, "hget", "zhongkong:{a}:token", "access_token").(string)
		if isSealed := stored != "from "+writer.name; isSealed != writer.seals {
			t.Errorf("%s writes sealed tokens: %v", writer.name, isSealed)
		}
		for j, reader := range steps {
			state := loaded(t, stores[j], "a")
			switch apart := max(i-j, j-i); {
			case state.Err == nil && state.Record.Token.Reveal() != "from "+writer.name:
				t.Errorf("%s reads %q of %s", reader.name, state.Record.Token.Reveal(), writer.name)
			case state.Err != nil && apart <= 1:
				t.Errorf("%s cannot read what %s writes: %v", reader.name, writer.name, state.Err)
			case state.Err != nil && !errors.Is(state.Err, coordinator.ErrSealed):
				t.Errorf("%s: %v", reader.name, state.Err)
			}
		}
		sealed, err := redisadmin.New(stores[0]).Sealed(t.Context(), "a")
		if err != nil || (sealed != "") != writer.seals || sealed != "" && sealed != stored {
			t.Errorf("Sealed() after %s = %q, %v", writer.name, sealed, err)
		}
		if record.Token.Reveal() != "from "+writer.name {
			t.Errorf("%s committed %q", writer.name, record.Token.Reveal())
		}
	}
	if sealed, err := redisadmin.New(stores[3]).Sealed(t.Context(), "none"); sealed != "" || err != nil {
		t.Errorf("Sealed() of nothing = %q, %v", sealed, err)
	}
}

func TestNotificationsAreReadAsTheKeyIs(t *testing.T) {
	server := redistest.Start(t)
	for _, step := range steps[1:3] {
		t.Run(step.name, func(t *testing.T) {
			_, r := followed(t, open(t, server.URL(), step.Options), coordinator.Reader, step.name)
			for _, writer := range []int{0, 3} {
				record := refreshed(t, open(t, server.URL(), steps[writer].Options), step.name, "t")
				eventually(t, "Notified of "+steps[writer].name+"'s token", patience, func() bool {
					return r.saw(coordinator.EventRefreshed, record.Generation)
				})
				// The next one must be able to say what is current.
				server.MustDo(t, "del", "zhongkong:{"+step.name+"}:token")
			}
		})
	}
}

func TestARequiringProcessSaysHowAFleetIsSwitched(t *testing.T) {
	server := redistest.Start(t)
	refreshed(t, open(t, server.URL(), redisstore.Options{}), "a", "plain")
	err := loaded(t, open(t, server.URL(), redisstore.Options{Sealer: envelope{}}), "a").Err
	if err == nil || !strings.Contains(err.Error(), "not sealed") || !strings.Contains(err.Error(), "seal: prefer") {
		t.Errorf("Load() = %v", err)
	}
}

func TestSealingThatCannotBeIsRefused(t *testing.T) {
	for _, o := range []redisstore.Options{
		{Sealing: redisstore.SealPrefer}, {Sealing: redisstore.SealAllow}, {Sealing: -1, Sealer: envelope{}}, {Sealing: 3, Sealer: envelope{}},
	} {
		if _, err := redisstore.Open("redis://127.0.0.1:1", o); err == nil || !strings.Contains(err.Error(), "Options.Sealing") {
			t.Errorf("Open() with %+v = %v", o, err)
		}
	}
}

func TestPlainStoreRefusesTokensThatLookSealed(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, server.URL(), redisstore.Options{})
	if _, err := store.Commit(t.Context(), "a", of(begun(t, store, "a", 0), "eyJ.a.b.c.d")); err == nil {
		t.Error("Commit() of a token that looks sealed succeeded")
	}
}

func TestARefresherReplacesWhatItCannotOpen(t *testing.T) {
	server := redistest.Start(t)
	plain := open(t, server.URL(), redisstore.Options{})
	refreshed(t, plain, "a", "PLAIN-TOKEN")

	// Sealing was switched on: the plain token is no longer valid.
	c, err := coordinator.New(coordinator.Config{
		Store:    open(t, server.URL(), redisstore.Options{Sealer: envelope{}}),
		Accounts: []coordinator.AccountConfig{{Name: "a", Source: new(coordinatortest.Source)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	account, _ := c.Account("a")
	if token, err := account.Token(t.Context()); err != nil || token.Reveal() != "token-1" {
		t.Errorf("Token() = %q, %v; want a new token", token.Reveal(), err)
	}

	// The other one cannot open that, and does not replace it again and again.
	refreshed(t, plain, "a", "PLAIN-AGAIN")
	if _, err := account.Token(t.Context()); !errors.Is(err, coordinator.ErrSealed) {
		t.Errorf("Token() = %v, want ErrSealed", err)
	}
	record, err := account.Refresh(t.Context())
	if err != nil || record.Token.Reveal() != "token-2" {
		t.Fatalf("Refresh() = %q, %v; want a new token: a forced refresh is not delayed", record.Token.Reveal(), err)
	}
}

func TestWhatCannotBeOpenedIsReplacedThoughTheFirstTryFails(t *testing.T) {
	server := redistest.Start(t)
	refreshed(t, open(t, server.URL(), redisstore.Options{}), "a", "PLAIN-TOKEN")
	source := new(coordinatortest.Source)
	source.Next(coordinatortest.FailsWith(coordinator.FailedBusy, "-1", "system error"))
	c := runCoordinator(t, coordinator.Config{
		Store:    open(t, server.URL(), redisstore.Options{Sealer: envelope{}}),
		Accounts: []coordinator.AccountConfig{{Name: "a", Source: source}},
	})
	eventually(t, "a token of its own", patience, func() bool {
		token, err := c.Token(t.Context(), "a")
		return err == nil && token.Reveal() == "token-1"
	})
}

func TestAReaderSaysAtOnceWhatItCannotOpen(t *testing.T) {
	server := redistest.Start(t)
	refreshed(t, open(t, server.URL(), redisstore.Options{Sealer: envelope{}}), "a", "SECRET-TOKEN")
	c, err := coordinator.New(coordinator.Config{
		Store:    open(t, server.URL(), redisstore.Options{}),
		Accounts: []coordinator.AccountConfig{{Name: "a"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Token(t.Context(), "a"); !errors.Is(err, coordinator.ErrSealed) {
		t.Errorf("Token() = %v, want ErrSealed", err)
	}
}
