package httpapi

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// changes are what an operator does about a caller whose password leaked. Each
// ends what "reader" has open.
var changes = map[string]func([]auth.User) []auth.User{
	"removed": func(all []auth.User) []auth.User {
		return slices.DeleteFunc(all, func(u auth.User) bool { return u.Name == "reader" })
	},
	"another password": func(all []auth.User) []auth.User {
		return change(all, func(u *auth.User) { u.PasswordHashes, u.Password = nil, "another-password" })
	},
	"another hash": func(all []auth.User) []auth.User {
		return change(all, func(u *auth.User) { u.PasswordHashes = []string{hashOf("another-password")} })
	},
	"another account": func(all []auth.User) []auth.User {
		return change(all, func(u *auth.User) { u.Accounts = []string{wxb} })
	},
	"the refresh right taken away": func(all []auth.User) []auth.User {
		return change(all, func(u *auth.User) { u.Refresh = false })
	},
}

func change(all []auth.User, how func(*auth.User)) []auth.User {
	for i := range all {
		if all[i].Name == "reader" {
			how(&all[i])
		}
	}
	return all
}

// allowed are the callers of every stage, but that reader may refresh.
func allowed() []auth.User {
	return change(testUsers(), func(u *auth.User) { u.Refresh = true })
}

// revocable is a stage whose callers can be changed.
func revocable(t *testing.T, make func(testing.TB, ...func(*Config)) *stage) (*stage, *auth.Authenticator) {
	t.Helper()
	gate, err := auth.New(allowed())
	if err != nil {
		t.Fatal(err)
	}
	return make(t, func(c *Config) { c.Callers = gate }), gate
}

func set(t *testing.T, gate *auth.Authenticator, users []auth.User) {
	t.Helper()
	if err := gate.SetUsers(users); err != nil {
		t.Fatal(err)
	}
}

// soon is the answer to a request that has been waiting.
func soon(t *testing.T, answers <-chan reply, what string) reply {
	t.Helper()
	select {
	case r := <-answers:
		return r
	case <-time.After(5 * time.Second):
		t.Fatalf("%s goes on", what)
		return reply{}
	}
}

func (s *stage) shutOut(r reply, what string) {
	s.t.Helper()
	if r.status != 401 || r.field("error") != "unauthorized" {
		s.t.Errorf("%s: %d %s, want 401", what, r.status, r.body)
	}
	s.nothingIn(what, r.body)
}

func TestWhatARevokedCallerHasOpenEndsAtOnce(t *testing.T) {
	for name, changed := range changes {
		t.Run(name, func(t *testing.T) {
			s, gate := revocable(t, newStage)
			path := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=60s", wxa, s.store.Peek(wxa).Record.Generation)
			poll, others := make(chan reply, 1), make(chan reply, 1)
			go func() { r, _ := s.try(s.request(reader, "GET", path, "")); poll <- r }()
			go func() { r, _ := s.try(s.request(admin, "GET", path, "")); others <- r }()
			stream, stays := s.watch(reader), s.watch(admin)
			s.wait("them to be open", func() bool { return s.api.Holding() == 2 && s.api.Streams() == 2 })

			set(t, gate, changed(allowed()))
			s.shutOut(soon(t, poll, "the long poll"), "the long poll")
			s.wait("its own to end, and the others' not", func() bool { return s.api.Holding() == 1 && s.api.Streams() == 1 })

			s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
			if r := soon(t, others, "another caller's long poll"); r.status != 200 {
				t.Errorf("another caller's long poll: %d %s, want the next token", r.status, r.body)
			}
			if kind, _ := next(t, stays); kind != string(coordinator.EventRefreshed) {
				t.Errorf("another caller's stream: %s, want refreshed", kind)
			}
			for line := range stream {
				if strings.HasPrefix(line, "event: ") {
					t.Errorf("the stream goes on with %s", line)
				}
			}
		})
	}
}

func TestARevokedCallerDoesNotGetWhatItWaitedFor(t *testing.T) {
	s, gate := revocable(t, func(t testing.TB, change ...func(*Config)) *stage {
		return failingStage(t, coordinatortest.Hangs(), change...)
	})
	form := "name=reader&password=reader-password&appid=" + wxa
	asked := map[string]func() reply{
		"the first token": func() reply { return s.ask(reader, "GET", "/v1/tokens/"+wxa+"?wait=60s", "") },
		"the form":        func() reply { return s.ask("", "POST", "/GetToken/", form, "Content-Type", formType) },
		"a refresh":       func() reply { return s.ask(reader, "POST", "/v1/tokens/"+wxa+"/refresh", "") },
		"the page": func() reply {
			return s.ask(reader, "POST", "/", "account="+wxa, "Content-Type", formType, "Accept", "application/json")
		},
	}
	answers := make(map[string]chan reply)
	for name, ask := range asked {
		answer := make(chan reply, 1)
		answers[name] = answer
		go func() { answer <- ask() }()
	}
	sdk := make(chan reply, 1)
	go func() { sdk <- s.ask("", "GET", tokenQuery(wxa, reader), "") }()
	s.wait("all to wait", func() bool { return s.api.Holding() == len(asked)+1 })

	set(t, gate, changes["removed"](allowed()))
	for name, answer := range answers {
		s.shutOut(soon(t, answer, name), name)
	}
	checkTrouble(t, "an SDK", soon(t, sdk, "an SDK"), 40125, "invalid appsecret")
	s.wait("no request to wait", func() bool { return s.api.Holding() == 0 })
}

func TestAChangeThatIsNotTheCallersLeavesItsRequestsAlone(t *testing.T) {
	s, gate := revocable(t, newStage)
	generation := s.store.Peek(wxa).Record.Generation
	poll := make(chan reply, 1)
	go func() {
		r, _ := s.try(s.request(reader, "GET", fmt.Sprintf("/v1/tokens/%s?after=%d&wait=60s", wxa, generation), ""))
		poll <- r
	}()
	s.wait("a holder", func() bool { return s.api.Holding() == 1 })
	set(t, gate, append(allowed(), auth.User{Name: "new", Password: "new-password", Accounts: []string{wxa}}))
	set(t, gate, slices.DeleteFunc(allowed(), func(u auth.User) bool { return u.Name == "neighbor" }))
	set(t, gate, change(allowed(), func(u *auth.User) { // it gets a second password
		u.PasswordHashes = append([]string{hashOf("another-password")}, u.PasswordHashes...)
	}))
	s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
	if r := soon(t, poll, "the long poll"); r.status != 200 {
		t.Errorf("%d %s, want the next token", r.status, r.body)
	}
}

func TestACallerWhoWasRevokedWhileItsBodyCameCausesNoRefresh(t *testing.T) {
	s, gate := revocable(t, newStage)
	caller, err := gate.Authenticate(t.Context(), netip.Addr{}, auth.Credentials{Name: "reader", Password: "reader-password"})
	if err != nil {
		t.Fatal(err)
	}
	set(t, gate, changes["removed"](allowed()))
	r := &request{Request: s.request(reader, "POST", "/v1/tokens/"+wxa+"/refresh", ""), account: wxa, caller: caller}
	w := httptest.NewRecorder()
	if status := s.api.postRefresh(w, r); status != 401 {
		t.Errorf("%d %s, want 401", status, w.Body)
	}
	if err := s.zk.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.sources[wxa].Issued(); n != 1 {
		t.Errorf("%d tokens were issued, want the first alone", n)
	}
}
