package httpapi

import (
	"net/http"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
)

// Directory says which accounts belong together, and whose token a client holds.
type Directory interface {
	// Ticket returns the account with the ticket of an account, "" if there is none.
	// kind is a value of source:.
	Ticket(of, kind string) string

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

// Signer is what signs pages for the JS-SDK.
type Signer struct {
	Ticket string // the account of the ticket
	AppID  string // what wx.config calls appId
	Pages  wechat.Pages
}

// noDirectory knows nothing.
type noDirectory struct{}

func (noDirectory) Ticket(string, string) string         { return "" }
func (noDirectory) Corp(string) []string                 { return nil }
func (noDirectory) Platform(string, string) string       { return "" }
func (noDirectory) Member(string, string, string) string { return "" }
func (noDirectory) Signer(string) (Signer, bool)         { return Signer{}, false }
func (noDirectory) Holder(*http.Request, string) (string, auth.Caller, bool) {
	return "", auth.Caller{}, false
}
