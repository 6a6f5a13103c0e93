package sources

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// The kinds of WeChat's third-party platforms. The second is of accounts that appear by
// themselves.
const (
	WeChatPlatform   = "wechat_platform"
	WeChatAuthorizer = "wechat_authorizer"
)

func weChatPlatform() []Kind {
	return []Kind{{
		Name:  WeChatPlatform,
		Usage: "WeChat's component_access_token of a third-party platform; each account that has authorized it gets an account named by its AppID",
		Fields: append([]Field{
			{Key: "appid", Usage: "its AppID (default the name)"},
			{Key: "secret", Form: Secret, Required: true},
		}, pushedFields()...),
		APIBase: wechat.DefaultBaseURL,
		Make:    makePlatform,
		Trial:   tryPlatform,
		Chain:   func(v Values) string { return PlatformAppID(v) + " component " + v.APIBase },
		Hint:    hintBy(wechat.ClassifyComponent),
		Members: &Members{Kind: func(Values) string { return WeChatAuthorizer }, Named: isAuthorizer, Name: func(_ Values, appID string) string { return appID }, Fields: authorizerFields},
		Put:     func(v Values) (string, string) { return "query component_access_token", v.APIBase },
		PutAlso: "access_token",

		RejectsToken: func(code int) bool { return wechat.ClassifyAuthorizer(code).Kind == coordinator.FailedParent },
		UnknownToken: weChatUnknown,
	}}
}

// PlatformAppID returns the AppID of an account's platform.
func PlatformAppID(v Values) string { return cmp.Or(v.Text["appid"], v.Name) }

// Component returns the source of a platform's component_access_token.
func Component(v Values) (*wechat.ComponentSource, error) {
	return wechat.ComponentConfig{AppID: PlatformAppID(v), Secret: v.Text["secret"], BaseURL: v.APIBase}.Source()
}

func makePlatform(v Values) (coordinator.Source, error) {
	s, err := Component(v)
	if err = errors.Join(err, checkCallback(v, PlatformAppID(v))); err != nil {
		return nil, err
	}
	return s, nil
}

// tryPlatform returns a source whose Fetch asks WeChat to push verify tickets, as it does
// anyway: that takes the AppID, the secret and this address, and ends no token.
func tryPlatform(v Values) (coordinator.Source, error) {
	s, err := Component(v)
	if err != nil {
		return nil, err
	}
	return coordinator.SourceFunc(func(ctx context.Context, _ coordinator.FetchRequest) (coordinator.FetchResult, error) {
		_, err := s.StartPushes(ctx)
		return coordinator.FetchResult{}, err
	}), nil
}

// isAuthorizer reports whether an authorizer, or a ticket of one, may have this name.
func isAuthorizer(v Values, name string) bool {
	appID, _, _ := strings.Cut(name, ".")
	if ids := Authorizers(v); ids != nil {
		return slices.Contains(ids, appID)
	}
	return strings.HasPrefix(appID, "wx")
}

// platformField is the AppID of the platform, a field that only accounts that appear by
// themselves have.
const platformField = "platform"

// authorizerFields returns the fields of an authorizer's account.
func authorizerFields(v Values, appID string) map[string]string {
	return map[string]string{"appid": appID, platformField: PlatformAppID(v)}
}

// weChatMembers are the kinds of the accounts that appear by themselves.
func weChatMembers() []Kind {
	return []Kind{{
		Name:    WeChatAuthorizer,
		Fields:  []Field{{Key: "appid", Required: true}, {Key: platformField, Required: true}},
		APIBase: wechat.DefaultBaseURL,
		Make: func(v Values) (coordinator.Source, error) {
			return wechat.AuthorizerConfig{Platform: v.Text[platformField], AppID: v.Text["appid"], BaseURL: v.APIBase}.Source()
		},
		Tickets: weChatTickets,
		Probe:   probeWeChat,
		Hint:    hintBy(wechat.ClassifyAuthorizer),
		Put:     func(v Values) (string, string) { return "query access_token", v.APIBase },

		RejectsToken: wechat.IsTokenRejected, UnknownToken: weChatUnknown,
	}}
}
