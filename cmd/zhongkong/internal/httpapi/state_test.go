package httpapi

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

const statePath = "/v1/accounts/"

// state asks for an account's state.
func (s *stage) state(who, account string) wire.Account {
	s.t.Helper()
	r := s.ask(who, "GET", statePath+account, "")
	if r.status != http.StatusOK {
		s.t.Fatalf("the state of %s: %d %s", account, r.status, r.body)
	}
	return decodeState(s.t, r.body)
}

func decodeState(t testing.TB, body string) (a wire.Account) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return a
}

// sameState compares a state from memory with one that was read at about the same
// time, and returns both in JSON.
func sameState(t *testing.T, memory, read wire.Account) (got, want string, same bool) {
	t.Helper()
	read.Overdue = nil // only a reading shows it
	if math.Abs(memory.AgeSeconds-read.AgeSeconds) < 60 && math.Abs(memory.TTLSeconds-read.TTLSeconds) < 60 {
		memory.AgeSeconds, memory.TTLSeconds = read.AgeSeconds, read.TTLSeconds
	}
	if !read.NextRefresh.IsZero() && memory.NextRefresh.Sub(read.NextRefresh.Time).Abs() < time.Minute { // refreshers of a fleet are spread
		memory.NextRefresh = read.NextRefresh
	}
	text := func(a wire.Account) string {
		b, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	got, want = text(memory), text(read)
	return got, want, got == want
}

func TestTheStateFromMemoryIsWhatStatusReads(t *testing.T) {
	for name, skew := range map[string]time.Duration{
		"equal clocks": 0, "Redis' clock ahead": 3 * time.Hour, "Redis' clock behind": -3 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New()
			store.SetSkew(skew)
			first := stageOn(t, store, twoSources())
			first.tokens(wxa, wxb)
			first.sources[wxa].Default(refusal())
			if _, err := first.account(wxa).Refresh(t.Context()); err == nil {
				t.Fatal("a source that refuses gave a token")
			}
			first.wait("the lock to be given back, which no notification tells", func() bool { return store.Peek(wxa).Holder == "" })
			s := stageOn(t, store, first.sources) // a process that reads everything at its start
			s.tokens(wxa, wxb)
			for _, account := range []string{wxa, wxb} {
				var got, want string
				defer func() {
					if t.Failed() {
						t.Errorf("the state of %s is\n%swhile a reading shows\n%s", account, got, want)
					}
				}()
				s.wait("the state that a reading shows", func() (same bool) {
					read := wire.NewAccount(store.Peek(account), time.Hour, coordinator.DefaultLimits())
					got, want, same = sameState(t, s.state(admin, account), read)
					return same
				})
				if refused := strings.Contains(want, `"code":40125`); refused != (account == wxa) {
					t.Errorf("%s: is a refusal in %s?", account, want)
				}
			}
		})
	}
}

func TestTheListHasTheStatesOfTheCallersAccountsByName(t *testing.T) {
	gate, err := auth.New(append(testUsers(), auth.User{Name: "newcomer", Password: "newcomer-password", Accounts: []string{"wxnew"}}))
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Callers = gate })
	for who, want := range map[string][]string{
		admin: {wxa, wxb}, reader: {wxa}, neighbor: {wxb}, "newcomer:newcomer-password": {},
	} {
		r := s.ask(who, "GET", "/v1/accounts", "")
		names := []string{}
		for _, a := range decodeStrictly[[]wire.Account](t, who, r.body) {
			names = append(names, a.Name)
			if _, _, same := sameState(t, a, s.state(who, a.Name)); !same {
				t.Errorf("%s: the list has %+v, which differs from the state alone", who, a)
			}
		}
		if r.status != http.StatusOK || !slices.Equal(names, want) {
			t.Errorf("%s: %d %s, want %v", who, r.status, r.body, want)
		}
		if r.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: the header is %v", who, r.header)
		}
	}
}

func TestAnAccountThatDoesNotExistHasNoState(t *testing.T) {
	s := newStage(t)
	if r := s.ask(admin, "GET", statePath+"none", ""); r.status != http.StatusNotFound || r.field("error") != "unknown_account" {
		t.Errorf("an unknown account: %d %s", r.status, r.body)
	}
	for _, path := range []string{"/v1/accounts", statePath + wxa} {
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			r := s.ask(admin, method, path, "")
			if r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "GET, HEAD" || r.field("error") != "method_not_allowed" {
				t.Errorf("%s %s: %d %s, Allow: %s", method, path, r.status, r.body, r.header.Get("Allow"))
			}
		}
		if r := s.ask(admin, "HEAD", path, ""); r.status != http.StatusOK || r.body != "" {
			t.Errorf("HEAD %s: %d %q", path, r.status, r.body)
		}
	}
}

func TestSlashesThatAreTooManyDoNotHideAState(t *testing.T) {
	s := newStage(t)
	for _, path := range []string{"//v1/accounts/" + wxa, "/v1/accounts/" + wxa + "/", "/v1//accounts//" + wxa, "/%76%31/accounts/" + wxa} {
		if r := s.ask(reader, "GET", path, ""); r.status != http.StatusOK || r.field("name") != wxa {
			t.Errorf("GET %s: %d %s", path, r.status, r.body)
		}
	}
	for _, path := range []string{"//v1/accounts", "/v1/accounts/", "/v1//accounts//"} {
		if r := s.ask(reader, "GET", path, ""); r.status != http.StatusOK || !strings.HasPrefix(r.body, "[{") {
			t.Errorf("GET %s: %d %s", path, r.status, r.body)
		}
	}
}

func TestAStateHasTheLabelAloneAndThePageWhatItShowsBesideTheName(t *testing.T) {
	label := func(account string) string { return map[string]string{wxa: "商城 Shop"}[account] }
	s := newStage(t, func(c *Config) {
		c.Directory = labels{c.Directory, label, " · of the page"}
	})
	if got := s.state(admin, wxa).Label; got != "商城 Shop" {
		t.Errorf("the label is %q", got)
	}
	if r := s.ask(admin, "GET", statePath+wxb, ""); strings.Contains(r.body, `"label"`) {
		t.Errorf("an account without a label: %s", r.body)
	}
	if r := s.ask(admin, "GET", "/", ""); !strings.Contains(r.body, "商城 Shop · of the page") {
		t.Errorf("the page lacks its label: %s", r.body)
	}
}

func TestAStateSaysWhyTheDataCannotBeUsed(t *testing.T) {
	first := newStage(t)
	first.sources[wxa].Default(refusal()) // so that the record is not replaced
	s := stageOver(t, sealedStore{first.store, wxa}, first.store, first.sources)
	s.wait("a reading", func() bool { return s.account(wxa).Status().Err != nil })
	a := s.state(admin, wxa)
	if !strings.Contains(a.Error, "kid 7: ") || a.TTLSeconds != 0 || !a.IssuedAt.IsZero() {
		t.Errorf("a sealed record: %+v", a)
	}
	if b := s.state(admin, wxb); b.Error != "" || b.TTLSeconds == 0 {
		t.Errorf("the other account: %+v", b)
	}
	s.nothingIn("the state", s.ask(admin, "GET", "/v1/accounts", "").body)
}

func TestAStateSaysWhatFailed(t *testing.T) {
	s := failingStage(t, refusal())
	s.wait("a failure", func() bool { return s.account(wxa).Status().Failure != nil })
	a := s.state(reader, wxa)
	if f := a.LastError; f == nil || f.Code != "40125" || f.Kind != coordinator.FailedRefused || f.InARow == 0 || f.RetryAt.IsZero() {
		t.Errorf("the failure is %+v", f)
	}
	if a.TTLSeconds != 0 || a.NextRefresh != a.LastError.RetryAt {
		t.Errorf("without a token: %+v", a)
	}
}

func TestAStateIsAnsweredWithoutRedis(t *testing.T) {
	s := newStage(t)
	before := s.store.Calls(memstore.OpLoad)
	for range 50 {
		s.state(reader, wxa)
	}
	if n := s.store.Calls(memstore.OpLoad) - before; n > 10 { // the coordinator reads from time to time
		t.Errorf("50 requests cost %d readings", n)
	}
	s.store.SetDown(true)
	s.wait("a stale state", func() bool { return s.state(reader, wxa).Stale })
	if a := s.state(reader, wxa); a.TTLSeconds == 0 || a.Generation == 0 {
		t.Errorf("while Redis is away: %+v", a)
	}

	dead := memstore.New()
	dead.SetDown(true)
	late := stageOver(t, dead, dead, map[string]*coordinatortest.Source{wxa: {}, wxb: {}})
	if a := late.state(reader, wxa); !strings.Contains(a.Error, "has not been read") || a.Generation != 0 {
		t.Errorf("before the first reading: %+v", a)
	}
}

func TestNoStateHasATokenOrAPassword(t *testing.T) {
	s := newStage(t)
	for _, who := range []string{admin, reader, neighbor, stranger, ""} {
		for _, path := range []string{"/v1/accounts", statePath + wxa, statePath + wxb, statePath + "none", "/v1/accounts?access_token=1"} {
			r := s.ask(who, "GET", path, "")
			header, err := json.Marshal(r.header)
			if err != nil {
				t.Fatal(err)
			}
			s.nothingIn("GET "+path+" as "+who, r.body+string(header))
		}
	}
	s.nothingIn("the log", s.log.String())
}
