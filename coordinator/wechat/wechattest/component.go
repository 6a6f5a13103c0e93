package wechattest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// Component is a third-party platform. It is also an Account of the product Platform.
type Component struct {
	AppID  string
	Secret string

	// Whitelist are the addresses from which its interfaces may be called, as those of an
	// Account.
	Whitelist []string

	// Token and EncodingAESKey are those of its pushes. PreviousKey is the EncodingAESKey
	// before the last change; empty: there is none.
	Token, EncodingAESKey, PreviousKey string

	// URL is where its events are pushed to. Handler gets them in its place, without a
	// socket, if it is set. Two components may have the same URL.
	URL     string
	Handler http.Handler

	// Stopped means that no verify tickets are pushed until api_start_push_ticket is called.
	Stopped bool
}

// component is a Component with its state. Guarded by Server.mu.
type component struct {
	*account
	Component
	codec, formerCodec *msgcrypt.Codec // of the current and the previous key; nil: there is none

	tokens      chain
	tickets     map[string]time.Time // when each was issued
	nextTicket  time.Time            // when the next is pushed
	codes       map[string]*authCode
	preAuth     map[string]time.Time // when each code expires
	authorizers map[string]*authorizer
	held        []*push // by the fault PushReorder
}

// authCode is an authorization_code.
type authCode struct {
	authorizer *authorizer
	expires    time.Time
	used       bool
	grant      int // authorizer.grant when it was given
}

// authorizer is an account that has authorized a component, now or once.
type authorizer struct {
	*account
	authorized   bool
	at           time.Time // when it authorized
	grant        int       // counts its authorizations
	queried      bool      // api_query_auth was called for the present one
	refreshToken string
	former       string    // the refresh token before a rotation
	formerEnds   time.Time // until when that is accepted
	tokens       chain
}

func (c Component) codecOf(key string) (*msgcrypt.Codec, error) {
	if key == "" {
		return nil, nil
	}
	codec, err := msgcrypt.Config{Token: c.Token, EncodingAESKey: key, Receivers: []string{c.AppID}}.Codec()
	if err != nil {
		return nil, fmt.Errorf("wechattest: component %s: %w", c.AppID, err)
	}
	return codec, nil
}

// AddComponent adds a component. Its first verify ticket is pushed at once (see
// RunPushes). A component of the same AppID gets these settings, and keeps its state.
func (s *Server) AddComponent(c Component) error {
	a, err := newAccount(Account{AppID: c.AppID, Secret: c.Secret, Product: Platform, Whitelist: c.Whitelist})
	if err != nil {
		return err
	}
	added := &component{
		account: a, Component: c,
		tickets: make(map[string]time.Time), codes: make(map[string]*authCode),
		preAuth: make(map[string]time.Time), authorizers: make(map[string]*authorizer),
	}
	if err := added.setKeys(c.EncodingAESKey, c.PreviousKey); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.components[c.AppID]; before != nil {
		before.account.Account, before.whitelist = a.Account, a.whitelist
		before.Component, before.codec, before.formerCodec = added.Component, added.codec, added.formerCodec
		added = before
	} else {
		s.accounts[c.AppID] = a
	}
	added.nextTicket = s.nowLocked()
	s.components[c.AppID] = added
	s.wakePushes()
	return nil
}

func (c *component) setKeys(current, previous string) error {
	codec, err := c.codecOf(current)
	if err != nil {
		return err
	}
	former, err := c.codecOf(previous)
	if err != nil {
		return err
	}
	c.EncodingAESKey, c.PreviousKey = current, previous
	c.codec, c.formerCodec = codec, former
	return nil
}

// changeComponent calls do with a component while holding the server's lock.
func (s *Server) changeComponent(appID string, do func(*component, time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.components[appID]
	if !ok {
		return simulator.NotFound("wechattest: no component %q", appID)
	}
	return do(c, s.nowLocked())
}

// ChangeKey gives a component another EncodingAESKey. The current one becomes the
// previous one, which the fault PushPreviousKey uses.
func (s *Server) ChangeKey(componentID, key string) error {
	return s.changeComponent(componentID, func(c *component, _ time.Time) error { return c.setKeys(key, c.EncodingAESKey) })
}

// SetURL changes where a component's events are pushed to.
func (s *Server) SetURL(componentID, url string, handler http.Handler) error {
	return s.changeComponent(componentID, func(c *component, _ time.Time) error {
		c.URL, c.Handler = url, handler
		return nil
	})
}

// StopPushes ends the pushes of a component's verify tickets until
// api_start_push_ticket is called. Other events are still pushed.
func (s *Server) StopPushes(componentID string) error {
	return s.changeComponent(componentID, func(c *component, _ time.Time) error {
		c.Stopped = true
		return nil
	})
}

// IssueTicket issues a verify ticket as a push would, without pushing it.
func (s *Server) IssueTicket(componentID string) (ticket string, err error) {
	err = s.changeComponent(componentID, func(c *component, now time.Time) error {
		ticket = s.newTicket(c, now)
		return nil
	})
	return ticket, err
}

func (s *Server) newTicket(c *component, now time.Time) string {
	ticket := "ticket@@@" + s.randomText(verifyTicketLength)
	c.tickets[ticket] = now
	maps.DeleteFunc(c.tickets, func(_ string, issued time.Time) bool { return now.Sub(issued) > 2*s.knobs.VerifyTicketTTL })
	return ticket
}

const (
	verifyTicketLength = 86
	refreshTokenLength = 43
	authCodeLength     = 64
)

// Authorization is what the page of the platform gets when an account has authorized it.
// The same code comes as an event.
type Authorization struct {
	Code      string  `json:"auth_code"`
	ExpiresIn Seconds `json:"expires_in"`
}

// Authorize makes an account authorize a component, and pushes the event authorized. An
// account that has authorized it already does so again: the event is updateauthorized,
// the refresh token is another one, and all its tokens die at once. An unknown account
// is added.
func (s *Server) Authorize(componentID, appID string) (Authorization, error) {
	var given Authorization
	err := s.changeComponent(componentID, func(c *component, now time.Time) error {
		a, infoType := c.authorizers[appID], "authorized"
		switch {
		case a == nil:
			owner := s.accounts[appID]
			if owner == nil {
				added, err := newAccount(Account{AppID: appID, Secret: s.randomHex(16)})
				if err != nil {
					return err
				}
				owner, s.accounts[appID] = added, added
			}
			a = &authorizer{account: owner}
			c.authorizers[appID] = a
		case a.authorized:
			infoType = "updateauthorized"
		}
		a.end(now)
		a.authorized, a.queried, a.at = true, false, now
		a.grant++
		a.refreshToken = "refreshtoken@@@" + s.randomText(refreshTokenLength)
		given = Authorization{"queryauthcode@@@" + s.randomText(authCodeLength), Seconds(s.knobs.AuthCodeTTL)}
		c.codes[given.Code] = &authCode{authorizer: a, expires: now.Add(s.knobs.AuthCodeTTL), grant: a.grant}
		s.queuePush(c, now, infoType, a.AppID, given.Code)
		return nil
	})
	return given, err
}

// Unauthorize ends an account's authorization of a component, and pushes the event
// unauthorized. All its tokens die at once.
func (s *Server) Unauthorize(componentID, appID string) error {
	return s.changeComponent(componentID, func(c *component, now time.Time) error {
		a := c.authorizers[appID]
		if a == nil || !a.authorized {
			return simulator.NotFound("wechattest: %s has not authorized %s", appID, componentID)
		}
		a.end(now)
		a.authorized = false
		s.queuePush(c, now, "unauthorized", appID, "")
		return nil
	})
}

// end ends an authorization with its tokens.
func (a *authorizer) end(now time.Time) {
	for _, i := range a.tokens.tokens {
		i.end(now, CauseReauthorized)
	}
	a.former = ""
}

// Authorizer is the state of an account that has authorized a component, now or once.
type Authorizer struct {
	AppID        string
	Authorized   bool
	At           time.Time // when it authorized
	Queried      bool      // api_query_auth was called for this authorization
	RefreshToken string
	Live         []Issue // its tokens of this component that are valid, the oldest first
}

// Authorizers returns the accounts that have authorized a component, sorted by AppID.
func (s *Server) Authorizers(componentID string) []Authorizer {
	var out []Authorizer
	_ = s.changeComponent(componentID, func(c *component, now time.Time) error {
		for _, id := range slices.Sorted(maps.Keys(c.authorizers)) {
			a := c.authorizers[id]
			state := Authorizer{AppID: id, Authorized: a.authorized, At: a.at, Queried: a.queried, RefreshToken: a.refreshToken}
			for _, i := range a.tokens.tokens {
				if i.accepted(now) {
					state.Live = append(state.Live, i.snapshot())
				}
			}
			out = append(out, state)
		}
		return nil
	})
	return out
}

// resetComponents removes the tokens, tickets, codes and pushes. Authorizations stay, as
// accounts do. The caller holds s.mu.
func (s *Server) resetComponents() {
	s.pushed, s.queue, s.pushFaults = nil, nil, nil
	s.daily = make(map[dailyCalls]int)
	for _, c := range s.components {
		c.tokens, c.held, c.nextTicket = chain{}, nil, s.nowLocked()
		c.tickets = make(map[string]time.Time)
		c.codes, c.preAuth = make(map[string]*authCode), make(map[string]time.Time)
		for _, a := range c.authorizers {
			a.tokens = chain{}
		}
	}
	s.wakePushes()
}

// chainOf returns a chain of an account: that of tokens of a platform belongs to the
// platform, or to the first one that the account has authorized. Nil: there is none. The
// caller holds s.mu.
func (s *Server) chainOf(a *account, c Chain) *chain {
	switch c {
	case ComponentChain:
		if platform := s.components[a.AppID]; platform != nil {
			return &platform.tokens
		}
		return nil
	case AuthorizerChain:
		for _, id := range slices.Sorted(maps.Keys(s.components)) {
			if own := s.components[id].authorizers[a.AppID]; own != nil {
				return &own.tokens
			}
		}
		return nil
	}
	return a.chain(c)
}
