package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

const (
	crm    = "crm"
	portal = "portal:portal-password" // all accounts, grant right

	grantPath = "/v1/grants/{name}"
)

// rotating is a source whose refresh token is used up by each call.
type rotating struct{ pushed bool }

func (r rotating) Description() coordinator.Description {
	if r.pushed {
		return coordinator.Description{Grant: coordinator.GrantRules{Needed: true, Received: true, Replay: coordinator.ReplayFree}}
	}
	return coordinator.Description{Grant: coordinator.GrantRules{Needed: true}}
}

func (rotating) Fetch(_ context.Context, r coordinator.FetchRequest) (coordinator.FetchResult, error) {
	presented := r.Grant.Token.Reveal()
	return coordinator.FetchResult{
		Token: coordinator.NewToken("access by " + presented), Lifetime: time.Hour, Grant: coordinator.NewToken(presented + "+"),
	}, nil
}

// twoDaysIdle is a Directory of accounts whose refresh tokens live for two days.
type twoDaysIdle struct{ noDirectory }

func (twoDaysIdle) GrantIdle(string) time.Duration { return 48 * time.Hour }

// AuthCodes implements Directory: the account "suite" takes auth_codes.
func (twoDaysIdle) AuthCodes(account string) (AuthCodes, bool) {
	return authCodes{}, account == "suite"
}

// authCodes takes any code but one that cannot be stored.
type authCodes struct{}

func (authCodes) TakeAuthCode(_ context.Context, code string) error {
	switch code {
	case "secret-auth-code":
		return nil
	case "secret-unconfirmed":
		return fmt.Errorf("suite: %w", coordinator.ErrUnconfirmed)
	case "secret-unlisted":
		return &coordinator.RefusedError{Account: "suite", Code: "61004", Message: "access clientip is not registered"}
	}
	return fmt.Errorf("another code: %q", code)
}

// grantStage has an account with a grant, besides those of every stage. now sets the
// store's faults before the account is added.
func grantStage(t *testing.T, now func(*memstore.Store), more ...coordinator.AccountConfig) *stage {
	t.Helper()
	users := append(testUsers(), auth.User{Name: "portal", Password: "portal-password", Accounts: []string{auth.AllAccounts}, Grant: true})
	gate, err := auth.New(users)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) {
		c.Callers = gate
		c.Directory = twoDaysIdle{} // unless the caller says
	})
	now(s.store)
	for _, a := range append(more, coordinator.AccountConfig{Name: crm, Source: rotating{}}) {
		account, err := s.zk.Add(a)
		if err != nil {
			t.Fatal(err)
		}
		s.wait("the account's state", func() bool { return account.Status().LastRead })
	}
	return s
}

func noFaults(*memstore.Store) {}

func TestARefreshTokenThatIsPutInIsUsed(t *testing.T) {
	s := grantStage(t, noFaults)
	if r := s.ask(reader, "GET", "/v1/grants/"+crm, ""); r.status != http.StatusForbidden {
		t.Errorf("the state, for a caller without the account: %d %s", r.status, r.body)
	}
	if r := s.ask(admin, "GET", "/v1/grants/"+crm, ""); r.field("condition") != "none" || r.field("name") != crm {
		t.Errorf("the state without a grant: %d %s", r.status, r.body)
	}
	if r := s.ask(portal, "PUT", "/v1/grants/"+crm, `{"refresh_token": "r0", "expires_in": 86400}`); r.status != http.StatusNoContent || r.body != "" {
		t.Fatalf("PUT: %d %s", r.status, r.body)
	}
	if g := s.store.PeekGrant(crm); len(g.Tokens) == 0 || g.Consent == 0 {
		t.Error("it was answered before it was stored")
	}
	s.wait("a token that came by it", func() bool {
		return s.ask(admin, "GET", "/v1/tokens/"+crm, "").field("access_token") == "access by r0"
	})
	s.wait("its state", func() bool { return s.ask(admin, "GET", "/v1/grants/"+crm, "").field("condition") == "good" })
	r := s.ask(admin, "GET", "/v1/grants/"+crm, "")
	if until, err := time.Parse(time.RFC3339, fmt.Sprint(r.field("idle_until"))); err != nil || time.Until(until).Round(time.Hour) != 24*time.Hour {
		t.Errorf("the state: %s", r.body)
	}
	if strings.Contains(r.body, "r0") {
		t.Errorf("the state shows the token: %s", r.body)
	}
	log := s.log.String()
	if !strings.Contains(log, `msg="grant put in" caller=portal`) || !strings.Contains(log, "account=crm outcome=stored") || strings.Contains(log, "r0") {
		t.Errorf("the log: %s", log)
	}
}

// grantAnswers are the statuses that TestEveryAnswerAboutGrantsIsAsDescribed brings
// about.
var grantAnswers = []string{
	"GET " + grantPath + " 200", "GET " + grantPath + " 401", "GET " + grantPath + " 403", "GET " + grantPath + " 404",
	"GET " + grantPath + " 409", "GET " + grantPath + " 429",
	"PUT " + grantPath + " 204", "PUT " + grantPath + " 400", "PUT " + grantPath + " 401", "PUT " + grantPath + " 403", "PUT " + grantPath + " 404",
	"PUT " + grantPath + " 409", "PUT " + grantPath + " 413", "PUT " + grantPath + " 429", "PUT " + grantPath + " 502", "PUT " + grantPath + " 503",
}

func TestEveryAnswerAboutGrantsIsAsDescribed(t *testing.T) {
	d := loadDescription(t)
	well := grantStage(t, noFaults,
		coordinator.AccountConfig{Name: "platform", Source: rotating{pushed: true}}, coordinator.AccountConfig{Name: "suite", Source: rotating{pushed: true}},
		coordinator.AccountConfig{Name: "read-only"})
	down := grantStage(t, func(s *memstore.Store) { s.FailNext(memstore.OpLoadGrant, 1<<20) })
	slow := newStage(t, func(c *Config) { c.Callers = slowCallers{} })
	const body = `{"refresh_token":"secret-refresh-token"}`
	of := func(account string) string { return "/v1/grants/" + account }
	seen := map[string]bool{}
	for _, c := range []struct {
		on                      *stage
		who, method, path, body string
		status                  int
		words                   string
	}{
		{well, admin, "GET", of(crm), "", 200, `"condition":"none"`},
		{well, "", "GET", of(crm), "", 401, ""},
		{well, reader, "GET", of(crm), "", 403, ""},
		{well, admin, "GET", of("nobody"), "", 404, ""},
		{well, admin, "GET", of(wxa), "", 409, "no_grant"},
		{slow, admin, "GET", of(crm), "", 429, ""},

		{well, portal, "PUT", of(crm), "", 400, "refresh_token"},
		{well, portal, "PUT", of(crm), body + body, 400, ""},
		{well, portal, "PUT", of(crm), `{"refresh_token":""}`, 400, "refresh_token: is missing"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"secret-refresh-token","expires_in":0}`, 400, "expires_in"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"secret-refresh-token","expires_in":1.5}`, 400, "expires_in"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"secret-refresh-token","expire_in":9}`, 400, "the body must be"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"secret-refresh-token\n"}`, 400, "white space"},
		{well, portal, "PUT", of(crm), `{"refresh_token":" secret-refresh-token"}`, 400, "white space"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"secret-refresh-token\u0000"}`, 400, "white space"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"secret-refresh-token\u3000"}`, 400, "white space"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"` + strings.Repeat("x", 8<<10+1) + `"}`, 400, "1 to 8192"},
		{well, portal, "PUT", of(crm), `{"refresh_token":"x","Refresh_Token":"secret-refresh-token"}`, 400, "repeated"},
		{well, "", "PUT", of(crm), body, 401, ""},
		{well, admin, "PUT", of(crm), body, 403, "grant right"},
		{well, reader, "PUT", of(crm), body, 403, "not among"},
		{well, portal, "PUT", of("nobody"), body, 404, ""},
		{well, portal, "PUT", of(wxa), body, 409, "no grant"},
		{well, portal, "PUT", of("read-only"), body, 409, "only reads it"},
		{well, portal, "PUT", of("platform"), body, 409, "pushes"},
		{well, portal, "PUT", of("suite"), `{"auth_code":"secret-auth-code"}`, 204, ""},
		{well, portal, "PUT", of("suite"), `{"auth_code":"secret-unconfirmed"}`, 503, "repeat the request"},
		{well, portal, "PUT", of("suite"), `{"auth_code":"secret-unlisted"}`, 502, "61004"},
		{well, portal, "PUT", of("suite"), `{"auth_code":""}`, 400, "auth_code"},
		{well, portal, "PUT", of("suite"), `{"auth_code":"secret-auth-code "}`, 400, "white space"},
		{well, portal, "PUT", of("suite"), `{"auth_code":"secret-auth-code","expires_in":600}`, 400, "the body must be"},
		{well, portal, "PUT", of("suite"), `{"auth_code":"secret-auth-code","refresh_token":"x"}`, 400, "the body must be"},
		{well, portal, "PUT", of("suite"), `{"auth_code":"x","Auth_Code":"secret-auth-code"}`, 400, "repeated"},
		{well, portal, "PUT", of("suite"), body, 409, "pushes"},
		{well, admin, "PUT", of("suite"), `{"auth_code":"secret-auth-code"}`, 403, "grant right"},
		{well, portal, "PUT", of(crm), `{"auth_code":"secret-auth-code"}`, 409, "suite"},
		{slow, portal, "PUT", of("suite"), `{"auth_code":"secret-auth-code"}`, 429, ""},
		{well, portal, "PUT", of(crm), strings.Repeat(" ", 17<<10), 413, ""},
		{slow, portal, "PUT", of(crm), body, 429, ""},
		{down, portal, "PUT", of(crm), body, 503, ""},
		{well, portal, "PUT", of(crm), body, 204, ""},
	} {
		r := c.on.ask(c.who, c.method, c.path, c.body)
		if r.status != c.status || !strings.Contains(r.body, c.words) || strings.Contains(r.body, "secret-") {
			t.Errorf("%s %s as %q: %d %s, want %d and %q", c.method, c.path, c.who, r.status, r.body, c.status, c.words)
			continue
		}
		if err := d.answered(grantPath, c.method, r); err != nil {
			t.Errorf("%s %s as %q: %d: %v", c.method, c.path, c.who, r.status, err)
		}
		seen[fmt.Sprintf("%s %s %d", c.method, grantPath, c.status)] = true
	}
	for _, answer := range grantAnswers {
		if !seen[answer] {
			t.Errorf("nothing here brings about %s", answer)
		}
	}
	for _, s := range []*stage{well, down} {
		if strings.Contains(s.log.String(), "secret-") {
			t.Error("the log shows a refresh token or an auth_code")
		}
	}
}

func TestARefreshInDoubtSaysWhenTheTokenIsTriedAgain(t *testing.T) {
	none := &coordinator.GrantError{Condition: coordinator.GrantDoubt, RetryIn: time.Hour}
	p := problemOf(t.Context(), &coordinator.FetchError{Kind: coordinator.FailedBusy, Message: "not called", Err: none})
	if p.status != http.StatusServiceUnavailable || p.code != "no_grant" || p.retry != time.Hour || p.message != none.Error() {
		t.Errorf("%+v", p)
	}
}
