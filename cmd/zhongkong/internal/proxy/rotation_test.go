package proxy

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

func mustHash(t *testing.T, password string) string {
	t.Helper()
	hash, err := auth.Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A phantom outlives the rotation of passwords in which its own stays valid, and ends
// with its own password on every server.
func TestAPhantomLivesAsLongAsThePasswordWithWhichItWasMade(t *testing.T) {
	before, after := mustHash(t, "before"), mustHash(t, "after")
	users := func(hashes ...string) []auth.User {
		return []auth.User{{Name: "veil", PasswordHashes: hashes, Accounts: []string{appID}, Phantom: true}}
	}
	var servers []*stage
	var gates []*auth.Authenticator
	for range 2 {
		a, err := auth.New(users(before))
		if err != nil {
			t.Fatal(err)
		}
		gates = append(gates, a)
		route := weChatRoute(t, serve(t, http.HandlerFunc(echo)))
		servers = append(servers, newStage(t, route, &fixed{}, func(c *Config) { c.Callers = a }))
	}
	made := map[string]string{} // phantom :: password
	makeWith := func(password string) string {
		t.Helper()
		c, err := gates[0].Authenticate(t.Context(), netip.MustParseAddr("192.0.2.1"), auth.Credentials{Name: "veil", Password: password})
		if err != nil {
			t.Fatal(err)
		}
		phantom, err := servers[0].sealer.Make(c.Name(), c.Verifier(), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return phantom
	}
	for _, step := range []struct {
		hashes []string
		make   string // the password with which a phantom is made then
		valid  string
	}{
		{[]string{before}, "before", "before"},
		{[]string{after, before}, "after", "before after"},
		{[]string{before, after}, "before", "before after"},
		{[]string{after}, "", "after"},
		{[]string{mustHash(t, "after")}, "", ""}, // the password is the same, its hash is not
	} {
		for _, g := range gates {
			if err := g.SetUsers(users(step.hashes...)); err != nil {
				t.Fatal(err)
			}
		}
		if step.make != "" {
			made[makeWith(step.make)] = step.make
		}
		for phantom, password := range made {
			for i, s := range servers {
				w := callWith(s, "GET", "/proxy/wx/x?access_token="+phantom, "")
				if passed := strings.HasPrefix(w.Body.String(), "GET /x"); passed != strings.Contains(step.valid, password) {
					t.Errorf("server %d, valid %q, a phantom made with %q: %d %s", i, step.valid, password, w.Code, w.Body)
				}
			}
		}
	}
}
