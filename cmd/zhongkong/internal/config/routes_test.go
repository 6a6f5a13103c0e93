package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

const routedAccounts = "accounts:\n  - {appid: wx1, secret: s1}\n  - {appid: wx2, secret: s2, api_base: https://wx.example.com}\n"

func loadRoutes(t *testing.T, routes string) (*config.Config, error) {
	t.Helper()
	return load(t, routedAccounts+routes, nil, nil)
}

func TestRoutesAreRead(t *testing.T) {
	c, err := loadRoutes(t, `routes:
  - {name: wx, account: wx1, listen: "127.0.0.1:8090"}
  - {name: crm, account: wx2, to: https://api.example.com/v1/, put: header X-Key}
  - {name: near, account: wx2, to: "http://127.0.0.1:9000", put: bearer}
users:
  - {name: a, password: "$argon2id$v=19$m=65536,t=3,p=2$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", accounts: "*", phantom: true}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Route{
		{Name: "wx", Account: "wx1", Listen: "127.0.0.1:8090"},
		{Name: "crm", Account: "wx2", To: "https://api.example.com/v1", Put: "header X-Key"},
		{Name: "near", Account: "wx2", To: "http://127.0.0.1:9000", Put: "bearer"},
	}
	for i, r := range c.Routes {
		if got := (config.Route{Name: r.Name, Account: r.Account, Listen: r.Listen, To: r.To, Put: r.Put}); got != want[i] {
			t.Errorf("routes[%d] is %+v, want %+v", i, r, want[i])
		}
	}
	if len(c.Routes) != len(want) || !c.Users[0].Phantom {
		t.Errorf("read %d routes, phantom %v", len(c.Routes), c.Users[0].Phantom)
	}
}

func TestAllProblemsOfRoutesAreReported(t *testing.T) {
	_, err := loadRoutes(t, `listen: 127.0.0.1:8080
routes:
  - {name: a/b, account: wx1}
  - {name: wx, acount: wx1}
  - {name: wx, account: wx3}
  - {name: plain, account: wx1, to: "http://api.example.com", put: bearer}
  - {name: ftp, account: wx1, to: "ftp://api.example.com"}
  - {name: cookie, account: wx1, to: "https://api.example.com", put: header Cookie}
  - {name: put, account: wx1, put: bearer}
  - {name: none, account: wx1, listen: "8090"}
  - {name: taken, account: wx1, listen: "127.0.0.1:8080"}
  - {account: wx1}
users:
  - {name: a, password: "$argon2id$v=19$m=65536,t=3,p=2$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", accounts: wx1, phantom: true, udp_key: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}
`)
	if err == nil {
		t.Fatal("it was read")
	}
	for _, want := range []string{
		":6: routes[0].name: must consist of letters",
		":7: routes[1].acount: unknown field: did you mean account?",
		`:8: routes[2].name: "wx" is given before`,
		`:8: routes[2].account: "wx3" is not among the accounts: they are wx1, wx2`,
		":9: routes[3].to: http:// sends the token in plaintext",
		":10: routes[4].to: is not a web address",
		`:11: routes[5].put: a token cannot be put into the header "Cookie"`,
		":12: routes[6].put: belongs to an upstream of its own",
		`:13: routes[7].listen: "8090" is not an address`,
		":14: routes[8].listen: 127.0.0.1:8080 is used before",
		":15: routes[9].name is missing",
		":17: users[0].phantom: a datagram is answered with the token itself",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no problem %q in\n%v", want, err)
		}
	}
}

func TestARouteToAnAPIBaseInPlaintextIsRefused(t *testing.T) {
	const accounts = "accounts:\n  - {appid: wx1, secret: s1, api_base: %q}\nplaintext_ok: %v\nroutes:\n  - {name: wx, account: wx1}\n"
	for _, c := range []struct {
		base        string
		plaintextOK bool
		refused     bool
	}{
		{"http://relay.example.com", false, true},
		{"http://relay.example.com", true, false},
		{"http://10.0.0.5", false, true},
		{"http://127.0.0.1:9090", false, false},
		{"http://localhost:9090", false, false},
		{"https://relay.example.com", false, false},
	} {
		_, err := load(t, fmt.Sprintf(accounts, c.base, c.plaintextOK), nil, nil)
		if refused := err != nil && strings.Contains(err.Error(), "routes[0].account: its api_base is http://, which sends the token in plaintext"); refused != c.refused || err != nil && !refused {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

func TestAddressesThatAreOneAreRefused(t *testing.T) {
	for _, test := range []struct {
		listen, first, second string
		refused               bool
	}{
		{"127.0.0.1:8080", "127.0.0.1:8090", "localhost:8090", true},
		{"127.0.0.1:8080", "localhost:8090", "[::1]:8090", true},
		{"127.0.0.1:8080", "LocalHost:8090", "localhost:8090", true},
		{"127.0.0.1:8080", ":8090", "127.0.0.1:8090", true},
		{"127.0.0.1:8080", "192.0.2.1:8090", "[::]:8090", true},
		{"127.0.0.1:8080", "127.0.0.1:8090", "0.0.0.0:8090", true},
		{"127.0.0.1:8080", "127.0.0.1:8090", "[::ffff:127.0.0.1]:8090", true},
		{"localhost:8090", "127.0.0.1:8091", "127.0.0.1:8090", true},
		{"127.0.0.1:8080", "127.0.0.1:8090", "[::1]:8090", false}, // both can be had
		{"127.0.0.1:8080", "127.0.0.1:8090", "127.0.0.2:8090", false},
		{"127.0.0.1:8080", "127.0.0.1:8090", "127.0.0.1:8091", false},
		{"127.0.0.1:8080", "127.0.0.1:0", "localhost:0", false},
	} {
		_, err := loadRoutes(t, fmt.Sprintf("listen: %q\nplaintext_ok: true\nroutes:\n  - {name: a, account: wx1, listen: %q}\n  - {name: b, account: wx1, listen: %q}\n",
			test.listen, test.first, test.second))
		if refused := err != nil && strings.Contains(err.Error(), "routes[1].listen: "+test.second+" is used before"); refused != test.refused || err != nil && !refused {
			t.Errorf("%+v: error %v", test, err)
		}
	}
}

func TestARouteToThisServerIsRefused(t *testing.T) {
	for _, test := range []struct {
		listen, to string
		refused    bool
	}{
		{"127.0.0.1:8080", "http://127.0.0.1:8080/proxy/loop", true},
		{"127.0.0.1:8080", "http://localhost:8080", true},
		{"127.0.0.1:8080", "http://localhost:8090/x", true}, // the route itself
		{"127.0.0.1:8080", "http://localhost:8091", true},   // the route after it
		{"127.0.0.1:8080", "http://0.0.0.0:8080", true},
		{":8080", "http://127.0.0.1:8080", true},
		{":443", "https://localhost/proxy/loop", true},
		{"10.0.0.5:80", "http://10.0.0.5", true},
		{"127.0.0.1:8080", "http://127.0.0.1:9000", false},
		{"127.0.0.1:8080", "https://api.example.com:8080", false},
		{":8080", "http://10.0.0.5:8080", false}, // may be another machine
		{"127.0.0.1:0", "http://127.0.0.1:9000", false},
	} {
		_, err := loadRoutes(t, fmt.Sprintf("listen: %q\nplaintext_ok: true\nroutes:\n  - {name: loop, account: wx1, to: %q, put: bearer, listen: \"127.0.0.1:8090\"}\n"+
			"  - {name: b, account: wx1, listen: \"127.0.0.1:8091\"}\n", test.listen, test.to))
		if refused := err != nil && strings.Contains(err.Error(), "routes[0].to: leads to this server itself"); refused != test.refused || err != nil && !refused {
			t.Errorf("%+v: error %v", test, err)
		}
	}
}

func TestAChangeOfRoutesTakesEffectAtTheNextStart(t *testing.T) {
	before, err := loadRoutes(t, "routes:\n  - {name: wx, account: wx1}\n")
	if err != nil {
		t.Fatal(err)
	}
	moved, err := loadRoutes(t, "\n\nroutes:\n  - {name: wx, account: wx1}\n")
	if err != nil {
		t.Fatal(err)
	}
	other, err := loadRoutes(t, "routes:\n  - {name: wx, account: wx2}\n")
	if err != nil {
		t.Fatal(err)
	}
	if fixed := moved.Fixed(before); len(fixed) > 0 {
		t.Errorf("the same routes: %v", fixed)
	}
	if fixed := other.Fixed(before); len(fixed) != 1 || fixed[0] != "routes" {
		t.Errorf("other routes: %v", fixed)
	}
}
