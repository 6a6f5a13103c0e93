package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
)

// numbered are Routes that number the phantoms they make.
type numbered struct {
	http.Handler
	made  atomic.Int32
	given []string // names of callers; for tests whose requests come one after the other
}

func (*numbered) ServeLogin(http.ResponseWriter, *http.Request) {}

func (n *numbered) Given(_, caller string, _ coordinator.Token) { n.given = append(n.given, caller) }

func (n *numbered) Phantom(_ string, caller auth.Caller) (string, error) {
	return fmt.Sprintf("zk_%s-%d", caller.Name(), n.made.Add(1)), nil
}

// Routes accept a token only from a caller who was given it.
func TestRoutesLearnWhoWasGivenATokenByHTTPOrADatagram(t *testing.T) {
	gate, routes := newCallers(t), &numbered{}
	s := newStage(t, func(c *Config) { c.Callers, c.Proxy = gate, routes })
	s.ask(admin, "GET", "/v1/tokens/"+wxa, "")
	caller, _ := gate.Find("reader")
	s.api.Answer(caller, wxa)
	if want := []string{"admin", "reader"}; !slices.Equal(routes.given, want) {
		t.Errorf("given to %q, want %q", routes.given, want)
	}
}

// A phantom ends with its password, whatever generation of the token it stands for:
// a caller that has the current generation gets another one.
func TestACallerOfPhantomsIsNeverToldThatItHasTheCurrentOne(t *testing.T) {
	veil := func(password string) auth.User {
		return auth.User{Name: "veil", Password: password, Accounts: []string{wxa}, Phantom: true}
	}
	callers, err := auth.New(append(testUsers(), veil("first-password")))
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t, func(c *Config) { c.Callers, c.Proxy = callers, &numbered{} })
	const path = "/v1/tokens/" + wxa
	first := s.ask("veil:first-password", "GET", path, "")
	tag := first.header.Get("ETag")
	generation := strings.Trim(tag, `"`)
	if first.status != 200 || !strings.Contains(first.body, "zk_veil-1") || generation == "" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	held := make(chan reply, 1)
	go func() { // ends with the answer
		held <- s.ask("veil:first-password", "GET", path+"?wait=30s&after="+generation, "")
	}()
	s.wait("the request to be held", func() bool { return s.api.Holding() == 1 })
	if err := callers.SetUsers(append(testUsers(), veil("second-password"))); err != nil {
		t.Fatal(err)
	}
	if r := <-held; r.status != http.StatusUnauthorized {
		t.Errorf("held while the password changed: %d %s", r.status, r.body)
	}
	const who = "veil:second-password"
	began := time.Now()
	for name, r := range map[string]reply{
		"by its ETag":                  s.ask(who, "GET", path, "", "If-None-Match", tag),
		"by its generation":            s.ask(who, "GET", path+"?after="+generation, ""),
		"by its generation, and waits": s.ask(who, "GET", path+"?wait=1s&after="+generation, ""),
	} {
		if r.status != 200 || !strings.Contains(r.body, "zk_veil-") || !strings.Contains(r.body, `"generation":`+generation+",") {
			t.Errorf("asked %s: %d %s", name, r.status, r.body)
		}
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("no request was held: %v", took)
	}
	if r := s.ask(reader, "GET", path+"?after="+generation, "", "If-None-Match", tag); r.status != http.StatusNotModified {
		t.Errorf("a caller of tokens: %d %s", r.status, r.body)
	}
}
