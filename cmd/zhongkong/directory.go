package main

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// directory is the daemon's httpapi.Directory.
type directory struct{ d *daemon }

func (y directory) account(name string) config.Account {
	a, _ := y.d.current.Load().Account(name)
	return a
}

// Label implements httpapi.Directory.
func (y directory) Label(account string) string { return y.account(account).Label }

// PageLabel implements httpapi.Directory: the label, and the AppID if that is not the
// name.
func (y directory) PageLabel(account string) string {
	a := y.account(account)
	parts := []string{a.Label, a.AppID()}
	if a.AppID() == "" || a.AppID() == a.Name {
		parts[1] = ""
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " · ")
}

// Source implements httpapi.Directory.
func (y directory) Source(account string) string { return y.account(account).Source }

// Overlap implements httpapi.Directory.
func (y directory) Overlap(account string) time.Duration {
	a := y.account(account)
	return a.Kind().Overlap(a.Values())
}

// GrantIdle implements httpapi.Directory.
func (y directory) GrantIdle(account string) time.Duration { return grantIdle(y.account(account)) }

// Probe implements httpapi.Directory. Tickets are not checked: they are asked for again
// every few minutes anyway, and the issuers answer few such calls.
func (y directory) Probe(account string) httpapi.Probe {
	a, ok := y.d.current.Load().Account(account)
	if kind := a.Kind(); ok && kind.Probe != nil && !kind.Ticket {
		if probe := kind.Probe(a.Values()); probe != nil {
			return func(ctx context.Context, token coordinator.Token) error { return probe(ctx, token, y.d.tokenOf(a.Of)) }
		}
	}
	return nil
}

// Callback implements httpapi.Directory.
func (y directory) Callback(account string) (httpapi.Callback, bool) {
	return y.d.members.callback(account)
}

// AuthCodes implements httpapi.Directory.
func (y directory) AuthCodes(account string) (httpapi.AuthCodes, bool) {
	return y.d.members.authCodes(account)
}

// Ticket implements httpapi.Directory.
func (y directory) Ticket(of, kind string) string {
	for _, a := range y.d.current.Load().Accounts {
		if a.Of == of && a.Source == kind {
			return a.Name
		}
	}
	return ""
}

// WeChat implements httpapi.Directory.
func (y directory) WeChat(appID string) []string {
	var names []string
	for _, a := range y.d.current.Load().Accounts {
		if (a.Source == sources.Token || a.Source == sources.StableToken) && a.AppID() == appID {
			names = append(names, a.Name)
		}
	}
	return names
}

// Corp implements httpapi.Directory.
func (y directory) Corp(corpID string) []string {
	var names []string
	for _, a := range y.d.current.Load().Accounts {
		if (a.Source == sources.WeCom || a.Source == sources.WeComCustomApp) && a.Text("corpid") == corpID {
			names = append(names, a.Name)
		}
	}
	return names
}

// Platform implements httpapi.Directory.
func (y directory) Platform(source, id string) string {
	for _, a := range y.d.current.Load().Accounts {
		if a.Source == source && (a.Name == id || a.Text("appid") == id || a.Text("suite_id") == id) {
			return a.Name
		}
	}
	return ""
}

// Member implements httpapi.Directory.
func (y directory) Member(source, platform, id string) string {
	cfg := y.d.current.Load()
	of, _ := cfg.Account(platform)
	if of.Source != source {
		return ""
	}
	id = of.Kind().Members.Name(of.Values(), id)
	if member, ok := cfg.Account(id); !ok || member.Of != platform {
		return ""
	}
	return id
}

// Signer implements httpapi.Directory. The ticket for wx.agentConfig has to be named
// itself.
func (y directory) Signer(account string) (httpapi.Signer, bool) {
	cfg := y.d.current.Load()
	for _, ticket := range cfg.Accounts {
		switch {
		case !ticket.Kind().Signs:
		case ticket.Name == account, ticket.Of == account && ticket.Source != sources.WeComAgentTicket:
			of, _ := cfg.Account(ticket.Of)
			hosts := ticket.Pages
			if len(hosts) == 0 {
				hosts = of.Pages
			}
			pages, err := wechat.ParsePages(hosts)
			return httpapi.Signer{Ticket: ticket.Name, AppID: cmp.Or(of.AppID(), of.Text("corpid")), Pages: pages}, err == nil
		}
	}
	return httpapi.Signer{}, false
}

// Holder implements httpapi.Directory. Only accounts with children are searched: the
// token of any other proves nothing that is of use.
func (y directory) Holder(req *http.Request, token string) (string, auth.Caller, bool) {
	return y.d.routes.Holder(req, token, parents(y.d.current.Load()))
}

// parents returns the accounts that others are children of. Platforms and suites are
// among them before they have members.
func parents(cfg *config.Config) []string {
	var names []string
	known := map[string]bool{}
	for _, a := range cfg.Accounts {
		name := a.Of
		if a.Source == sources.WeChatPlatform || a.Source == sources.WeComSuite {
			name = a.Name
		}
		if name != "" && !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	return names
}
