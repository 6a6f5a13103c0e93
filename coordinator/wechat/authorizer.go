package wechat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// AuthorizationCode is the GrantToken.Form of an authorization_code that was not yet
// exchanged. An authorizer's grant is such a code or, with the Form "", its refresh token.
const AuthorizationCode = "authorization_code"

// AuthorizerConfig describes an AuthorizerSource.
type AuthorizerConfig struct {
	Platform string // the AppID of the third-party platform
	AppID    string // of the authorizer

	// BaseURL, Fallbacks, Transport, ConnectTimeout and Timeout are those of
	// ComponentConfig.
	BaseURL        string
	Fallbacks      []string
	Transport      http.RoundTripper
	ConnectTimeout time.Duration
	Timeout        time.Duration
}

// Source validates c and returns the source that it describes. It makes no call.
func (c AuthorizerConfig) Source() (*AuthorizerSource, error) {
	if c.Platform == "" || c.AppID == "" {
		return nil, errors.New("wechat: an authorizer's source needs the AppIDs of the platform and of the authorizer")
	}
	service, err := Config{
		BaseURL: c.BaseURL, Fallbacks: c.Fallbacks, Transport: c.Transport, ConnectTimeout: c.ConnectTimeout, Timeout: c.Timeout,
	}.service()
	if err != nil {
		return nil, err
	}
	return &AuthorizerSource{service: &service, platform: c.Platform, appID: c.AppID, list: newAuthorizerList(c.Platform)}, nil
}

// AuthorizerSource fetches the authorizer_access_token of an account that has authorized
// a third-party platform, with the platform's component_access_token: name the platform's
// account in [coordinator.AccountConfig.Parent]. Its grant is the refresh token, which
// WeChat never uses up, or the authorization_code that is exchanged for it. It is safe for
// concurrent use. A [Platform] makes these sources for its authorizers.
type AuthorizerSource struct {
	service         *service
	platform, appID string
	list            *authorizerList
}

var (
	_ coordinator.Source    = (*AuthorizerSource)(nil)
	_ coordinator.Described = (*AuthorizerSource)(nil)
)

// Format prints the source, whatever the verb.
func (s *AuthorizerSource) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.AuthorizerSource(%s of %s)", s.appID, s.platform)
}

// Description implements [coordinator.Described]. What a call does to the token before is
// not documented: it is taken to end it.
func (s *AuthorizerSource) Description() coordinator.Description {
	return coordinator.Description{Grant: coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayFree}}
}

// Fetch implements [coordinator.Source]. Its errors are *coordinator.FetchError and
// contain neither a secret nor a token; the errcode that WeChat answered is in them as an
// *Error. A refresh token that WeChat does not accept, and a code that was exchanged
// without that its answer arrived, is looked up in WeChat's list of authorizers; if that
// has no other, the account must authorize the platform again (FailedGrant). If WeChat says
// that the account does not authorize the platform, and lists it with the refresh token that
// was presented, the call is made again later (FailedLater). It blocks for at most three
// requests for each call, and one for each 500 authorizers of the list.
func (s *AuthorizerSource) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	switch {
	case req.Parent.Token.IsZero():
		err := errors.New("wechat: an authorizer's token needs the platform's: set AccountConfig.Parent to the platform's account")
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedRefused, Message: err.Error(), Err: err}
	case req.Grant.Token.IsZero():
		return coordinator.FetchResult{}, nothingToPresent("wechat: the account has not authorized the platform")
	}
	f := s.service.fetch(ClassifyAuthorizer, req, "")
	presented := req.Grant.Token.Reveal()
	g, failure := s.present(ctx, f, req)
	if failure != nil && s.mayBeListed(failure) {
		presented, g, failure = s.presentListed(ctx, f, req, failure)
	}
	if failure != nil {
		if failure.Kind == coordinator.FailedGrant {
			s.list.want()
		}
		return coordinator.FetchResult{Grant: coordinator.NewToken(g.refresh)}, failure
	}
	result := f.issue(g)
	if g.refresh != "" {
		presented = g.refresh
	}
	if presented != req.Grant.Token.Reveal() {
		result.Grant = coordinator.NewToken(presented)
	}
	return result, nil
}

// mayBeListed reports whether the list of authorizers may have a refresh token that works.
func (s *AuthorizerSource) mayBeListed(failure *coordinator.FetchError) bool {
	code, _ := failure.Code.Number()
	return code == codeNotAuthorized || code == codeBadRefreshToken || code == codeBadAuthCode || code == codeOldAuthCode
}

// present asks for a token with what the grant is.
func (s *AuthorizerSource) present(ctx context.Context, f *fetch, req coordinator.FetchRequest) (issued, *coordinator.FetchError) {
	if req.Grant.Form != AuthorizationCode {
		return f.call(ctx, s.refresh(req.Parent.Token, req.Grant.Token.Reveal()))
	}
	g, failure := f.call(ctx, queryAuth(s.platform, req.Parent.Token, req.Grant.Token.Reveal()))
	switch {
	case failure != nil:
		return g, failure
	case g.owner != "" && g.owner != s.appID:
		return issued{}, f.failed(&coordinator.FetchError{
			Kind: coordinator.FailedGrant, Message: "the authorization_code is of another account",
		})
	case g.refresh == "": // which the list has now
		return issued{}, f.failed(&coordinator.FetchError{
			Kind: coordinator.FailedGrant, Code: coordinator.NumericCode(codeBadAuthCode),
			Message: "api_query_auth answered no refresh token",
		})
	}
	return g, nil
}

// queryAuth asks for the refresh token of an authorization, and a token, with its code.
func queryAuth(platform string, component coordinator.Token, code string) request {
	return request{path: componentPath + "api_query_auth", member: authorizerToken, query: componentQuery(component), body: struct {
		Platform string `json:"component_appid"`
		Code     string `json:"authorization_code"`
	}{platform, code}}
}

// refresh asks for a token with a refresh token.
func (s *AuthorizerSource) refresh(component coordinator.Token, refresh string) request {
	return request{path: componentPath + "api_authorizer_token", member: authorizerToken, query: componentQuery(component), body: struct {
		Platform string `json:"component_appid"`
		AppID    string `json:"authorizer_appid"`
		Refresh  string `json:"authorizer_refresh_token"`
	}{s.platform, s.appID, refresh}}
}

// presentListed presents the refresh token that WeChat's list has.
func (s *AuthorizerSource) presentListed(
	ctx context.Context, f *fetch, req coordinator.FetchRequest, failure *coordinator.FetchError,
) (refresh string, g issued, _ *coordinator.FetchError) {
	presented := req.Grant.Token.Reveal()
	refresh, err := s.list.lookUp(ctx, f, req.Parent.Token, s.appID, presented)
	switch {
	case err != nil:
		unread := *err // which the list keeps for others
		unread.Message = failure.Error() + "; " + err.Message
		return "", issued{}, f.failed(&unread)
	case refresh == presented && failure.Code == coordinator.NumericCode(codeNotAuthorized):
		contradicted := *failure
		contradicted.Kind, contradicted.RetryIn = coordinator.FailedLater, listInterval
		contradicted.Message += "; but WeChat's list of authorizers has the account, with this refresh token"
		return "", issued{}, f.failed(&contradicted)
	case refresh == "" && req.Grant.Form == AuthorizationCode:
		lacking := *failure
		lacking.Message += "; WeChat's list of authorizers has no refresh token of the account: if the code was exchanged, the account has no API permissions"
		return "", issued{}, f.failed(&lacking)
	case refresh == "" || refresh == presented:
		return "", issued{}, f.failed(failure)
	}
	f.secrets = append(f.secrets, refresh)
	g, err = f.call(ctx, s.refresh(req.Parent.Token, refresh))
	return refresh, g, err
}
