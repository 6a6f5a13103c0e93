package sources

import (
	"context"
	"errors"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// The kinds of WeChat.
const (
	Token        = string(wechat.Classic)
	StableToken  = string(wechat.Stable)
	JSAPITicket  = "jsapi_ticket"
	WXCardTicket = "wx_card_ticket"
)

func weChat() []Kind {
	token := Kind{
		Fields: []Field{
			{Key: "appid", Usage: "its AppID (default the name)"},
			{Key: "secret", Usage: "its AppSecret, or the secret of the app", Form: Secret, Required: true},
		},
		APIBase: wechat.DefaultBaseURL,
		Tickets: weChatTickets,
		Probe:   probeWeChat,
		// The tokens of stable_token are independent of the classic ones, and its normal
		// mode ends none.
		Trial: makeWeChat(wechat.Stable),
		Hint:  hintBy(wechat.Classify),
		Put:   func(v Values) (string, string) { return "query access_token", v.APIBase },

		RejectsToken: wechat.IsTokenRejected, UnknownToken: weChatUnknown,
	}
	classic, stable := token, token
	classic.Name, classic.Usage = Token, "WeChat's access_token by GET /cgi-bin/token: each call ends the token before"
	stable.Name, stable.Usage = StableToken, "WeChat's access_token by POST /cgi-bin/stable_token, apart from that of token"
	classic.Make, stable.Make = makeWeChat(wechat.Classic), makeWeChat(wechat.Stable)
	classic.Chain, stable.Chain = weChatChain(wechat.Classic), weChatChain(wechat.Stable)
	return []Kind{
		classic, stable,
		weChatTicket(JSAPITicket, wechat.JSAPI, "WeChat's ticket for the JS-SDK, of the account in of:; asked for again every 9 minutes"),
		weChatTicket(WXCardTicket, wechat.WXCard, "WeChat's ticket for cards, of the account in of:"),
	}
}

var weChatTickets = map[string]string{"jsapi": JSAPITicket, "wx_card": WXCardTicket}

func probeWeChat(v Values) Probe {
	return rejecting(wechat.Prober{BaseURL: v.APIBase}.Probe, wechat.Rejected)
}

func makeWeChat(kind wechat.Kind) func(Values) (coordinator.Source, error) {
	return func(v Values) (coordinator.Source, error) {
		return wechat.Config{AppID: v.Text["appid"], Secret: v.Text["secret"], Kind: kind, BaseURL: v.APIBase}.Source()
	}
}

func weChatChain(kind wechat.Kind) func(Values) string {
	return func(v Values) string { return v.Text["appid"] + " " + string(kind) + " " + v.APIBase }
}

func weChatTicket(name string, kind wechat.TicketType, usage string) Kind {
	return Kind{
		Name: name, Usage: usage, Of: []string{Token, StableToken}, Ticket: true, Signs: kind == wechat.JSAPI, APIBase: wechat.DefaultBaseURL,
		Make: func(v Values) (coordinator.Source, error) {
			return wechat.TicketConfig{Type: kind, BaseURL: v.APIBase}.Source()
		},
		Probe: func(v Values) Probe {
			return func(ctx context.Context, ticket, parent coordinator.Token) error {
				err := wechat.Prober{BaseURL: v.APIBase}.ProbeTicket(ctx, kind, parent, ticket)
				return marked(err, func(err error) bool { return errors.Is(err, wechat.ErrTicketReplaced) })
			}
		},
		Hint: hintBy(wechat.ClassifyTicket),
	}
}
