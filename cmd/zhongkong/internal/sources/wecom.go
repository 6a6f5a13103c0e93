package sources

import (
	"context"
	"errors"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wecom"
)

// The kinds of WeCom.
const (
	WeCom            = string(wecom.App)
	WeComProvider    = string(wecom.Provider)
	WeComJSAPITicket = string(wecom.JSAPITicket)
	WeComAgentTicket = string(wecom.AgentTicket)
)

func weCom() []Kind {
	fields := []Field{
		{Key: "corpid", Usage: "the CorpID", Required: true},
		{Key: "secret", Form: Secret, Required: true},
		{Key: "agentid", Usage: "the app's AgentId, for people"},
	}
	hint := hintBy(wecom.Classify)
	chain := func(v Values) string { return v.Text["corpid"] + " " + v.Text["secret"] + " " + v.APIBase }
	return []Kind{
		{
			Name: WeCom, Usage: "WeCom's access_token of one app, or of another holder of a secret: one account for each secret",
			Fields: fields, APIBase: wecom.DefaultBaseURL, Make: makeWeCom(wecom.App), Chain: chain, Hint: hint,
			Tickets: weComTickets,
			Probe:   probeWeCom,
			Put:     func(v Values) (string, string) { return "query access_token", v.APIBase },

			RejectsToken: wecom.IsTokenRejected, UnknownToken: weComUnknown,
		},
		{
			Name: WeComProvider, Usage: "WeCom's provider_access_token of a service provider",
			Fields: fields[:2], APIBase: wecom.DefaultBaseURL, Make: makeWeCom(wecom.Provider), Chain: chain, Hint: hint,
			Put:     func(v Values) (string, string) { return "query provider_access_token", v.APIBase },
			PutAlso: "access_token",

			RejectsToken: wecom.IsProviderTokenRejected, UnknownToken: providerUnknown,
		},
		weComTicket(wecom.JSAPITicket, "WeCom's ticket of the corp, for wx.config, of the account in of:"),
		weComTicket(wecom.AgentTicket, "WeCom's ticket of the app in of:, for wx.agentConfig"),
	}
}

var weComTickets = map[string]string{"corp": WeComJSAPITicket, "agent": WeComAgentTicket}

func probeWeCom(v Values) Probe {
	return rejecting(wecom.Prober{BaseURL: v.APIBase}.Probe, wecom.Rejected)
}

func makeWeCom(kind wecom.Kind) func(Values) (coordinator.Source, error) {
	return func(v Values) (coordinator.Source, error) {
		return wecom.Config{Kind: kind, CorpID: v.Text["corpid"], Secret: v.Text["secret"], BaseURL: v.APIBase}.Source()
	}
}

func weComTicket(kind wecom.Kind, usage string) Kind {
	return Kind{
		Name: string(kind), Usage: usage, Of: []string{WeCom}, Ticket: true, Signs: true, APIBase: wecom.DefaultBaseURL, Make: makeWeCom(kind),
		Probe: func(v Values) Probe {
			return func(ctx context.Context, ticket, parent coordinator.Token) error {
				err := wecom.Prober{BaseURL: v.APIBase}.ProbeTicket(ctx, kind, parent, ticket)
				return marked(err, func(err error) bool { return errors.Is(err, wecom.ErrTicketReplaced) })
			}
		},
		Hint: hintBy(wecom.ClassifyTicket),
	}
}
