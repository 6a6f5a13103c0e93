package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/proxy"
)

// Route is a path below which calls are passed on with an account's token put in.
type Route struct {
	Name    string // the route is at /proxy/NAME/
	Account string
	Listen  string // an address at whose root the route is as well, "" if it has none
	To      string // URL of the upstream, "" for the account's API
	Put     string // where the upstream expects the token, "" for where WeChat does

	where  string // "zk.yaml:12", for errors
	index  int
	faulty bool // a field is wrong
}

// same reports whether two routes are equal except for their places in files.
func (r Route) same(o Route) bool {
	r.where, r.index, o.where, o.index = "", 0, "", 0
	return r == o
}

func routeFields() []field[Route] {
	return []field[Route]{
		{"name", "its name in paths: it is at /proxy/NAME/", into(kindText, checked(proxy.CheckName), func(r *Route) *string { return &r.Name })},
		{"account", "the account whose token is put in", textInto(func(r *Route) *string { return &r.Account })},
		{"listen", "an address of its own, where the route is at the root, for an SDK whose base URL has no path; TLS and plaintext_ok as for listen",
			into(kindText, parseAddress, func(r *Route) *string { return &r.Listen })},
		{"to", "URL of the upstream (default the account's API)", into(kindText, checkAPIBase, func(r *Route) *string { return &r.To })},
		{"put", "where the upstream expects the token: bearer, query NAME or header NAME (default for WeChat accounts: query access_token)",
			into(kindText, checked(checkPlace), func(r *Route) *string { return &r.Put })},
	}
}

func checkPlace(put string) error {
	_, err := proxy.ParsePlace(put)
	return err
}

func (d *decoder) routes(n *yaml.Node, c *Config) {
	d.sequence(n, "routes", func(i int, n *yaml.Node) {
		path := fmt.Sprintf("routes[%d]", i)
		before := d.problems.count()
		r := Route{where: d.at(n), index: i}
		if !element(d, n, path, routeFields(), &r) {
			return
		}
		r.faulty = d.problems.count() > before
		if !r.faulty && r.Name == "" {
			d.problems.addf("%s: %s.name is missing: every route needs one", d.at(n), path)
		}
		if !r.faulty && r.Account == "" {
			d.problems.addf("%s: %s.account is missing: every route needs one", d.at(n), path)
		}
		c.Routes = append(c.Routes, r)
	})
}

// checkRoutes validates the routes against each other and against the accounts.
// named has the accounts; nil: they are not known.
func (c *Config) checkRoutes(named map[string]string, p *problems) {
	names, listeners := map[string]string{}, c.listeners(p)
	for _, r := range c.Routes {
		at := fmt.Sprintf("%s: routes[%d]", r.where, r.index)
		if first := names[r.Name]; r.Name != "" && first != "" {
			p.addf("%s.name: %q is given before, at %s: names must differ", at, r.Name, first)
		}
		names[r.Name] = r.where
		if r.Account != "" && named != nil && named[r.Account] == "" {
			p.addf("%s.account: %q is not among the accounts: they are %s", at, r.Account, c.names())
		}
		itself := slices.IndexFunc(listeners, func(l listener) bool { return l.isReachedBy(r.To) })
		switch {
		case r.faulty:
		case r.Put != "" && r.To == "":
			p.addf("%s.put: belongs to an upstream of its own: give to: as well, or remove it", at)
		case itself >= 0:
			p.addf("%s.to: leads to this server itself, which listens there (%s): name the upstream", at, listeners[itself].where)
		case c.PlaintextOK || c.isRefused("plaintext_ok"):
		case r.To == "" && isPlaintext(c.apiOf(r.Account)):
			p.addf("%s.account: its api_base is http://, which sends the token in plaintext: write https://, or set plaintext_ok if something on the way does TLS", at)
		case isPlaintext(r.To):
			p.addf("%s.to: http:// sends the token in plaintext: write https://, or set plaintext_ok if something on the way does TLS", at)
		}
	}
}

// apiOf returns the address of an account's API, where a route without to: leads; "" if it
// is not known.
func (c *Config) apiOf(account string) string {
	a, ok := c.Account(account)
	if !ok || a.Kind().Put == nil {
		return ""
	}
	_, to := a.Kind().Put(a.Values())
	return to
}

// isPlaintext reports whether what is sent to a URL can be read on the way.
func isPlaintext(to string) bool { return strings.HasPrefix(to, "http://") && !isThisMachine(to) }

// checkPhantoms validates the users that get phantoms.
func (c *Config) checkPhantoms(p *problems) {
	for _, u := range c.Users {
		switch {
		case !u.Phantom:
		case !u.UDPKey.IsZero():
			p.addf("%s: %s.phantom: a datagram is answered with the token itself: remove udp_key, or phantom", u.where, u.path)
		case !slices.ContainsFunc(c.Routes, func(r Route) bool {
			return slices.Contains(u.Accounts, r.Account) || slices.Contains(u.Accounts, "*")
		}):
			c.Warnings = append(c.Warnings,
				fmt.Sprintf("%s: %s.phantom: phantoms work on routes only, and no account of user %q has one", u.where, u.path, u.Name))
		}
	}
}
