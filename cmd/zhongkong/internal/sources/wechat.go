package sources

import (
	"context"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// The kinds of WeChat's access_token.
const (
	Token       = string(wechat.Classic)
	StableToken = string(wechat.Stable)
)

func weChat() []Kind {
	token := Kind{
		Fields: []Field{
			{Key: "appid", Usage: "its AppID (default the name)"},
			{Key: "secret", Usage: "its AppSecret, or the secret of the app", Form: Secret, Required: true},
		},
		APIBase: wechat.DefaultBaseURL,
		Probe: func(v Values) func(context.Context, coordinator.Token) error {
			return wechat.Prober{BaseURL: v.APIBase}.Probe
		},
		Rejected: wechat.Rejected,
		// The tokens of stable_token are independent of the classic ones, and its normal
		// mode ends none.
		Trial: makeWeChat(wechat.Stable),
		Hint:  func(code coordinator.Code) string { return wechat.ClassOf(code).Hint },
	}
	classic, stable := token, token
	classic.Name, classic.Usage = Token, "WeChat's access_token by GET /cgi-bin/token: each call ends the token before"
	stable.Name, stable.Usage = StableToken, "WeChat's access_token by POST /cgi-bin/stable_token, apart from that of token"
	classic.Make, stable.Make = makeWeChat(wechat.Classic), makeWeChat(wechat.Stable)
	classic.Chain, stable.Chain = weChatChain(wechat.Classic), weChatChain(wechat.Stable)
	return []Kind{classic, stable}
}

func makeWeChat(kind wechat.Kind) func(Values) (coordinator.Source, error) {
	return func(v Values) (coordinator.Source, error) {
		return wechat.Config{AppID: v.Text["appid"], Secret: v.Text["secret"], Kind: kind, BaseURL: v.APIBase}.Source()
	}
}

func weChatChain(kind wechat.Kind) func(Values) string {
	return func(v Values) string { return v.Text["appid"] + " " + string(kind) + " " + v.APIBase }
}
