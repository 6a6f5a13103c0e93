package wechat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// TicketType is the type parameter of getticket. Users write these values in
// configuration files.
type TicketType string

// The types of tickets.
const (
	JSAPI  TicketType = "jsapi"   // signs pages for the JS-SDK: JSSDKSignature, Pages
	WXCard TicketType = "wx_card" // signs cards: CardSignature
)

// TicketConfig describes a TicketSource.
type TicketConfig struct {
	// Type is JSAPI if empty.
	Type TicketType

	// BaseURL, Fallbacks, Transport and ConnectTimeout are those of Config. A call
	// whose outcome is unknown goes to the next host, because WeChat answers the same
	// ticket again.
	BaseURL        string
	Fallbacks      []string
	Transport      http.RoundTripper
	ConnectTimeout time.Duration

	// Timeout limits one request as a whole, in addition to Fetch's context. Zero
	// means 4 s.
	Timeout time.Duration
}

// TicketSource fetches one type of ticket of one account, with the access_token of that
// account: name it in [coordinator.AccountConfig.Parent]. It is safe for concurrent use.
//
// WeChat answers the same ticket while it is valid, and always says that it lives for
// two hours. When WeChat replaces it cannot be known otherwise than by asking: the
// source has itself asked every 9 minutes, which is for how long a ticket may be served
// that WeChat replaced early, if no caller reports it. No call can force another ticket.
type TicketSource struct {
	kind    TicketType
	service service
}

var (
	_ coordinator.Source    = (*TicketSource)(nil)
	_ coordinator.Described = (*TicketSource)(nil)
)

// Source validates c and returns the source that it describes. It makes no call.
func (c TicketConfig) Source() (*TicketSource, error) {
	c.Type = cmp.Or(c.Type, JSAPI)
	if c.Type != JSAPI && c.Type != WXCard {
		return nil, fmt.Errorf("wechat: unknown type of ticket %q: it must be %q or %q", c.Type, JSAPI, WXCard)
	}
	service, err := Config{
		Kind:           Stable, // whose calls are idempotent as well
		BaseURL:        c.BaseURL,
		Fallbacks:      c.Fallbacks,
		Transport:      c.Transport,
		ConnectTimeout: c.ConnectTimeout,
		Timeout:        c.Timeout,
	}.service()
	if err != nil {
		return nil, err
	}
	return &TicketSource{c.Type, service}, nil
}

// Format prints the source, whatever the verb.
func (s *TicketSource) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.TicketSource(%s)", s.kind)
}

// Description implements [coordinator.Described]. WeChat publishes no quota of getticket;
// the limits leave room for the schedule, 160 calls a day, below the smallest that was
// reported. A report that brings the same ticket again holds for half a minute.
func (s *TicketSource) Description() coordinator.Description {
	return coordinator.Description{
		Repeat:       coordinator.RepeatSame,
		Limits:       coordinator.Limits{PerDay: 2000, Reserve: 400, MinInterval: 30 * time.Second},
		RefreshEvery: 9 * time.Minute,
	}
}

// Fetch implements [coordinator.Source]. It blocks for at most three requests. Its
// errors are *coordinator.FetchError and contain neither a token nor a ticket; the
// errcode that WeChat answered is in them as an *Error. Their kind is FailedParent if
// WeChat rejects the access_token.
func (s *TicketSource) Fetch(ctx context.Context, req coordinator.FetchRequest) (coordinator.FetchResult, error) {
	if req.Parent.Token.IsZero() {
		err := errors.New("wechat: a ticket needs the access_token of its account: set AccountConfig.Parent to that account")
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedRefused, Message: err.Error(), Err: err}
	}
	f := s.service.fetch(ClassifyTicket, req, "")
	g, err := f.call(ctx, getTicket(s.kind, req.Parent.Token))
	if err != nil {
		return coordinator.FetchResult{}, err
	}
	return f.issue(g), nil
}

// getTicket returns the current ticket.
func getTicket(kind TicketType, token coordinator.Token) request {
	return request{path: "/cgi-bin/ticket/getticket", member: theTicket, idempotent: true, query: url.Values{
		tokenParameter: {token.Reveal()}, "type": {string(kind)},
	}}
}
