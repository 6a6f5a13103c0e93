package wechat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// PlatformConfig describes a Platform.
type PlatformConfig struct {
	// Account is that of the platform's component_access_token: an account of Coordinator
	// whose source is Component, or one with the same settings. Coordinator must Run while
	// the platform does: without it Account has no token, and no authorizer is listed.
	Account     *coordinator.Account
	Coordinator *coordinator.Coordinator
	Component   *ComponentSource

	// Token, EncodingAESKey and PreviousKey are those of the platform's pushes, as in
	// msgcrypt.Config.
	Token, EncodingAESKey, PreviousKey string

	// Add adds the account of an authorizer, or gives the one that is there the source, and
	// Remove removes one. parent is Account's name. They are called by Run only, for one
	// account at a time. Nil: they add to Coordinator, or configure what is there, without
	// RefreshEvery and Limits, and remove from it.
	Add    func(name string, source coordinator.Source, parent string) (*coordinator.Account, error)
	Remove func(name string) error

	// Authorizers are the accounts that are added, by AppID. Nil: all that authorize the
	// platform. The authorizations of the others are stored all the same, and their codes
	// exchanged, so that they can be added later.
	Authorizers []string

	// Following are the authorizers whose accounts are there already. Run calls Add for
	// those that stay, and Remove for the others.
	Following []string

	Logger *slog.Logger // nil: nothing is logged
}

// Format prints the configuration without its secrets, whatever the verb.
func (c PlatformConfig) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.PlatformConfig{%v}", c.Component)
}

// Platform takes what WeChat pushes to a third-party platform, and keeps an account for
// each account that has authorized it, under its AppID. Every process of a fleet that has
// the platform's secret has one. It is safe for concurrent use.
//
// What must survive is in the store: verify tickets are the grant of Account, a code or a
// refresh token is the grant of its authorizer, and the authorizers are the members of
// Account.
type Platform struct {
	config PlatformConfig
	log    *slog.Logger
	codec  *msgcrypt.Codec
	list   *authorizerList
	woken  chan struct{} // has room for one: Run is to look at the members
	taking chan struct{} // holds one for each authorization that is being stored
	begun  time.Time

	mu       sync.Mutex          // guards what follows
	unstored map[string]unstored // by authorizer: what the store could not take when it came

	// What follows is Run's alone.
	followed   map[string]*coordinator.Account // by AppID; nil: added before Run
	unreadable []string                        // the authorizers that are no accounts because WeChat's list lacks their refresh tokens
	refused    map[string]string               // by authorizer: why it cannot be added, which was logged
	rests      map[string]time.Time            // until when there is nothing to do about an authorizer without an account
	late       bool                            // for twice pushInterval no verify ticket has come
}

// Platform validates c and returns the platform that it describes. It starts nothing and
// makes no call.
func (c PlatformConfig) Platform() (*Platform, error) {
	if c.Account == nil || c.Coordinator == nil || c.Component == nil {
		return nil, errors.New("wechat: a platform needs an Account, a Coordinator and a Component")
	}
	codec, err := msgcrypt.Config{
		Token: c.Token, EncodingAESKey: c.EncodingAESKey, PreviousKey: c.PreviousKey, Receivers: []string{c.Component.appID},
	}.Codec()
	if err != nil {
		return nil, fmt.Errorf("wechat: platform %s: %w", c.Component.appID, err)
	}
	if c.Add == nil {
		c.Add = source.AddTo(c.Coordinator)
	}
	if c.Remove == nil {
		c.Remove = c.Coordinator.Remove
	}
	p := &Platform{
		config: c, codec: codec,
		log:      cmp.Or(c.Logger, slog.New(slog.DiscardHandler)).With("account", c.Account.Name()),
		list:     newAuthorizerList(c.Component.appID),
		woken:    make(chan struct{}, 1),
		taking:   make(chan struct{}, maxTaking),
		begun:    time.Now(),
		unstored: make(map[string]unstored),
		followed: make(map[string]*coordinator.Account),
		refused:  make(map[string]string),
	}
	for _, appID := range c.Following {
		p.followed[appID] = nil
	}
	return p, nil
}

// Format prints the platform without its secrets, whatever the verb.
func (p *Platform) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wechat.Platform(%s)", p.config.Component.appID)
}

const (
	// followEvery is how often the members in the store are compared with the accounts of
	// this process: for so long an authorizer that another process received is not known.
	followEvery = 30 * time.Second

	// followPause keeps a storm of events from having the members read for each.
	followPause = 200 * time.Millisecond

	// maxTaking is how many authorizations are stored at a time, and takeWithin how long one
	// waits for its turn: in a storm of events, more at once would all be too late for
	// WeChat, which pushes again what was refused.
	maxTaking  = 16
	takeWithin = 1500 * time.Millisecond

	// syncWithin spreads the first comparison with WeChat's list over the processes of a
	// fleet that starts, and syncEvery is the time between two, more or less a tenth.
	syncWithin = time.Minute
	syncEvery  = 24 * time.Hour
)

// Run keeps the accounts of the authorizers, and the pushes, until ctx ends. It blocks.
func (p *Platform) Run(ctx context.Context) {
	sync := time.Now().Add(rand.N(syncWithin))
	for ctx.Err() == nil {
		p.storeUnstored(ctx)
		if err := p.follow(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("the members of the platform cannot be read", "error", err)
		}
		p.watchPushes(ctx)
		if now := time.Now(); !now.Before(sync) || p.list.isWanted() {
			switch err := p.sync(ctx); {
			case errors.Is(err, errNoComponentToken): // it stays due
			case err == nil:
				sync = now.Add(syncEvery*9/10 + rand.N(syncEvery/5))
			case ctx.Err() == nil:
				p.log.Warn("WeChat's list of authorizers cannot be read: it is tried again", "error", err)
				sync = now.Add(listInterval)
			}
		}
		pause(ctx, followPause)
		select {
		case <-ctx.Done():
		case <-p.woken:
		case <-time.After(followEvery*9/10 + rand.N(followEvery/5)):
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// wake has Run look at the members.
func (p *Platform) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// follow makes the members in the store accounts of this process, and no others. Run
// calls it.
func (p *Platform) follow(ctx context.Context) error {
	members, err := p.config.Account.Members(ctx)
	if err != nil {
		return err
	}
	missing := maps.Clone(p.followed)
	var without []string // those that have no account
	for _, appID := range members {
		_, followed := missing[appID]
		delete(missing, appID)
		switch {
		case !p.wants(appID):
			if followed {
				p.remove(appID)
			}
		case p.followed[appID] == nil:
			p.add(appID)
		}
		if p.followed[appID] == nil {
			without = append(without, appID)
		}
	}
	p.settle(ctx, without)
	for appID := range missing {
		if err := p.leave(ctx, appID); err != nil {
			return err
		}
	}
	p.unreadable = slices.DeleteFunc(p.unreadable, func(appID string) bool { return p.followed[appID] != nil })
	return nil
}

// wants reports whether an authorizer gets an account.
func (p *Platform) wants(appID string) bool {
	return p.config.Authorizers == nil || slices.Contains(p.config.Authorizers, appID)
}

// leave removes an authorizer that is no member any more, if its grant was withdrawn. If
// it was not, the store has lost its members, and perhaps the grant, which comes back from
// the memory of a process or from WeChat's list.
func (p *Platform) leave(ctx context.Context, appID string) error {
	grant, _, err := p.changeGrant(ctx, appID, func(g coordinator.Grant, _ time.Time) coordinator.Grant { return g })
	switch {
	case err != nil:
		return err
	case !p.wants(appID), grant.Version > 0 && len(grant.Tokens) == 0:
		p.remove(appID)
		return nil
	}
	p.list.want()
	if len(grant.Tokens) == 0 {
		return nil
	}
	p.log.Warn("the store had lost that an account authorizes the platform", "authorizer", appID)
	return p.setMember(ctx, appID, true)
}

// add makes an authorizer an account.
func (p *Platform) add(appID string) {
	a, err := p.config.Add(appID, p.source(appID), p.config.Account.Name())
	if err != nil {
		if text := err.Error(); p.refused[appID] != text {
			p.refused[appID] = text
			p.log.Error("an authorizer cannot become an account", "authorizer", appID, "error", err)
		}
		return // and tried again
	}
	delete(p.refused, appID)
	p.followed[appID] = a
}

func (p *Platform) source(appID string) *AuthorizerSource {
	c := p.config.Component
	return &AuthorizerSource{service: &c.service, platform: c.appID, appID: appID, list: p.list}
}

// remove removes an authorizer from the accounts.
func (p *Platform) remove(appID string) {
	if err := p.config.Remove(appID); err != nil && !errors.Is(err, coordinator.ErrUnknownAccount) {
		p.log.Error("the account of an authorizer cannot be removed", "authorizer", appID, "error", err)
		return // and tried again
	}
	delete(p.followed, appID)
}

// watchPushes has WeChat push verify tickets again if two have not come. Run calls it.
func (p *Platform) watchPushes(ctx context.Context) {
	var last time.Time
	if grant := p.config.Account.Status().Grant; grant != nil {
		last = grant.ObtainedAt
	}
	since := last
	if p.begun.After(since) {
		since = p.begun
	}
	late := time.Since(since) > 2*pushInterval
	if p.late && !late {
		p.log.Info("verify tickets are pushed again")
	}
	p.late = late
	if !late || !p.config.Component.pushes.due() {
		return
	}
	stopped, err := p.config.Component.StartPushes(ctx)
	switch {
	case err != nil:
		p.log.Warn("no verify ticket has come for 20 minutes, and WeChat does not push again", "last_push_at", last, "error", err)
	case stopped:
		p.log.Warn("WeChat had stopped to push verify tickets: it pushes again", "last_push_at", last)
	default:
		p.log.Warn("no verify ticket has come for 20 minutes, although WeChat pushes: check the URL for authorization events "+
			"in WeChat's open platform, and that WeChat can reach it", "last_push_at", last)
	}
}
