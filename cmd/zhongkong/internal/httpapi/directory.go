package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Directory says what is configured of the accounts, which of them belong together, and
// whose token a client holds. Several goroutines may use it at the same time.
type Directory interface {
	// Label returns an account's name for people, "" if it has none.
	Label(account string) string

	// PageLabel returns what the page shows beside an account's name, "" for nothing.
	PageLabel(account string) string

	// Source returns the kind of an account's source: a value of source:.
	Source(account string) string

	// Overlap returns for how long an account's issuer accepts a token that was
	// replaced.
	Overlap(account string) time.Duration

	// GrantIdle returns how long an account's refresh token lives if it is not used, for
	// callers who put one in and do not say; 0: not known.
	GrantIdle(account string) time.Duration

	// Probe returns how to ask an account's issuer whether it accepts a token, nil if it
	// cannot be asked. The drop-in then checks a token that a caller asks for again, and
	// has it replaced if it is rejected.
	Probe(account string) Probe

	// Callback returns what takes the pushes to an account. It returns false if the
	// account has none.
	Callback(account string) (Callback, bool)

	// AuthCodes returns what takes the auth_codes of an account. It returns false if the
	// account has none, or if this process only reads it.
	AuthCodes(account string) (AuthCodes, bool)

	// Ticket returns the account with the ticket of an account, "" if there is none.
	// kind is a value of source:.
	Ticket(of, kind string) string

	// WeChat returns the accounts of WeChat's access_token, token or stable_token, with an
	// AppID.
	WeChat(appID string) []string

	// Corp returns the accounts of the apps of a WeCom corp.
	Corp(corpID string) []string

	// Platform returns the account of a third-party platform or a suite, by its name or
	// by the ID that the issuer knows it by; "" if there is none. source is a value of
	// source:.
	Platform(source, id string) string

	// Member returns the account of a member of a platform's or suite's account, by the
	// member's AppID or corpid; "" if there is none, or if the platform's account has
	// another source.
	Member(source, platform, id string) string

	// Signer returns what signs pages with an account: the ticket that it is, or else
	// its JS-SDK ticket. It returns false if there is no such ticket, or no page that
	// may be signed.
	Signer(account string) (Signer, bool)

	// Holder returns the account whose token or phantom the client of a request was
	// given, and the caller that it was given to; the zero Caller if that is not known.
	// It returns false for any other string.
	Holder(req *http.Request, token string) (account string, caller auth.Caller, ok bool)
}

// Probe asks an issuer about a token. Nil: it accepts the token. An error that wraps
// httpsource.ErrRejected: it does not. Another error: not known. No error holds the
// token.
type Probe func(ctx context.Context, token coordinator.Token) error

// Signer is what signs pages for the JS-SDK.
type Signer struct {
	Ticket string // the account of the ticket
	AppID  string // what wx.config calls appId
	Pages  wechat.Pages
}
