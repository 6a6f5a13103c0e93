package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/httpapi"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
)

// keeper keeps the accounts that appear by themselves, because somebody has authorised
// a platform or installed a suite, and takes what the issuer pushes.
type keeper interface {
	httpapi.Callback
	Run(ctx context.Context)
}

// keeperConfig is what a keeper is made of.
type keeperConfig struct {
	config  config.Account
	account *coordinator.Account
	members *members
	present []string // the members that are there already
}

// newKeeper returns the keeper of an account with members.
func newKeeper(c keeperConfig) (keeper, error) {
	switch c.config.Source {
	case sources.WeComSuite:
		return newSuite(c)
	case sources.WeChatPlatform:
		return newPlatform(c)
	}
	return nil, fmt.Errorf("source %s has no members", c.config.Source)
}

// members are a daemon's accounts that appear by themselves.
type members struct {
	d *daemon

	mu      sync.Mutex     // guards what follows
	cfg     *config.Config // as it was read, without members
	ctx     context.Context
	keepers map[string]*keeping         // by the account that the members live on
	present map[string][]config.Account // by the member: itself and its tickets
	changed chan struct{}               // has room for one: d.current is to be made anew
}

// keeping is a keeper at work.
type keeping struct {
	keeper
	of   config.Account
	stop func() // returns when Run has returned
}

func newMembers(d *daemon) *members {
	return &members{d: d, cfg: d.cfg, keepers: map[string]*keeping{}, present: map[string][]config.Account{}, changed: make(chan struct{}, 1)}
}

// run keeps members until ctx ends.
func (m *members) run(ctx context.Context) {
	m.mu.Lock()
	m.ctx = ctx
	m.mu.Unlock()
	m.start()
	var pushing sync.WaitGroup
	defer pushing.Wait()
	if sandbox := m.d.sandbox; sandbox != nil {
		pushing.Go(func() { sandbox.push(ctx, m.d.api) }) // ends with ctx
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-m.changed:
			m.publish()
			pause(ctx, publishEvery) // thousands appear one by one at the start
		}
	}
	m.mu.Lock()
	stopping := m.keepers
	m.keepers = map[string]*keeping{}
	m.mu.Unlock()
	for _, k := range stopping {
		k.stop()
	}
}

// publishEvery bounds how often the directory of all accounts is made anew.
const publishEvery = 100 * time.Millisecond

// pause waits for d and reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// start starts the keepers that are not at work. Before run it does nothing.
func (m *members) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil || m.ctx.Err() != nil {
		return
	}
	for _, a := range m.cfg.Accounts {
		if a.Kind().Members == nil || !a.HasSecret() || m.keepers[a.Name] != nil {
			continue
		}
		if err := m.keep(a); err != nil {
			m.d.log.Error("an account's members are not kept", "account", a.Name, "error", err)
		}
	}
}

// keep starts a keeper. mu is held.
func (m *members) keep(a config.Account) error {
	account, ok := m.d.zk.Account(a.Name)
	if !ok {
		return coordinator.ErrUnknownAccount
	}
	k, err := newKeeper(keeperConfig{a, account, m, m.of(a.Name)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(m.ctx)
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) }) // ends with ctx
	m.keepers[a.Name] = &keeping{k, a, func() { cancel(); running.Wait() }}
	return nil
}

// release stops the keepers whose accounts change, before the accounts do. The members
// of those that go, or are made anew, go first.
func (m *members) release(next *config.Config, removed map[string]bool) {
	m.mu.Lock()
	var stopping []*keeping
	for name, k := range m.keepers {
		if later, stays := next.Account(name); !stays || !later.Same(k.of) || removed[name] {
			stopping = append(stopping, k)
			delete(m.keepers, name)
		}
	}
	m.mu.Unlock()
	for _, k := range stopping {
		k.stop()
		if !removed[k.of.Name] {
			continue
		}
		m.mu.Lock()
		names := m.of(k.of.Name)
		m.mu.Unlock()
		for _, name := range names {
			if err := m.remove(name); err != nil {
				m.d.log.Error("an account cannot be removed", "account", name, "error", err)
			}
		}
	}
}

// of returns the members that live on an account. mu is held.
func (m *members) of(name string) []string {
	var names []string
	for member, accounts := range m.present {
		if accounts[0].Of == name {
			names = append(names, member)
		}
	}
	return names
}

// add adds a member of an account, and its tickets. A member that is there is
// configured anew.
func (m *members) add(of config.Account, name string, source coordinator.Source, parent string) (*coordinator.Account, error) {
	m.mu.Lock()
	cfg, before := m.cfg, m.present[name]
	m.mu.Unlock()
	accounts, err := cfg.Members(of, name)
	if err == nil {
		err = cfg.CheckMember(of, name)
	}
	if err != nil {
		return nil, err
	}
	for _, ticket := range slices.Backward(before) { // its own name, the first, stays
		if !slices.ContainsFunc(accounts, func(a config.Account) bool { return a.Name == ticket.Name }) {
			if err := m.d.zk.Remove(ticket.Name); err != nil && !errors.Is(err, coordinator.ErrUnknownAccount) {
				return nil, err
			}
		}
	}
	c := coordinator.AccountConfig{Name: name, Source: source, Parent: parent, RefreshEvery: accounts[0].RefreshEvery, Limits: accounts[0].Limits}
	account, err := m.ensure(c)
	if err != nil {
		return nil, err
	}
	for _, ticket := range accounts[1:] {
		c, err := newAccountConfig(ticket, true)
		if err == nil {
			_, err = m.ensure(c)
		}
		if err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	m.present[name] = accounts
	m.mu.Unlock()
	m.republish()
	return account, nil
}

// ensure adds an account to the coordinator, or configures the one that is there.
func (m *members) ensure(c coordinator.AccountConfig) (*coordinator.Account, error) {
	if account, there := m.d.zk.Account(c.Name); there {
		return account, account.Configure(c)
	}
	return m.d.zk.Add(c)
}

// remove removes a member and its tickets.
func (m *members) remove(name string) error {
	m.mu.Lock()
	accounts := m.present[name]
	delete(m.present, name)
	m.mu.Unlock()
	m.republish()
	for _, a := range slices.Backward(accounts) {
		if err := m.d.zk.Remove(a.Name); err != nil && !errors.Is(err, coordinator.ErrUnknownAccount) {
			return err
		}
	}
	return nil
}

func (m *members) republish() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// configure replaces the configuration that was read.
func (m *members) configure(cfg *config.Config) {
	m.mu.Lock()
	m.cfg = cfg
	m.mu.Unlock()
	m.publish()
}

// publish has requests see the configuration with the members.
func (m *members) publish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []config.Account
	for _, accounts := range m.present {
		all = append(all, accounts...)
	}
	slices.SortFunc(all, func(a, b config.Account) int { return cmp.Compare(a.Name, b.Name) })
	if m.d.routes != nil { // not before they are open
		m.d.routes.keepFormer(m.d.current.Load())
	}
	m.d.current.Store(m.cfg.With(all))
	if m.d.routes != nil {
		m.d.routes.phantoms.secretsChanged()
	}
}

// callback returns what takes the pushes to an account.
func (m *members) callback(name string) (httpapi.Callback, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keepers[name]
	return k, ok
}

// authCodes returns what takes the auth_codes of an account; false if it has none.
func (m *members) authCodes(name string) (httpapi.AuthCodes, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.keepers[name]; k != nil {
		codes, ok := k.keeper.(httpapi.AuthCodes)
		return codes, ok
	}
	return nil, false
}

// addMembers adds the members of the configured accounts to the configuration, as far as
// this process may read them.
func (s *session) addMembers(ctx context.Context) {
	var all []config.Account
	for _, a := range s.cfg.Accounts {
		kind := a.Kind().Members
		if kind == nil {
			continue
		}
		names, err := s.store.GrantMembers(ctx, a.Name)
		if err != nil {
			s.log.Warn("the members of an account cannot be read", "account", a.Name, "error", err)
			continue
		}
		slices.Sort(names)
		for _, name := range kind.Listed(names) {
			accounts, err := s.cfg.Members(a, name)
			if err != nil {
				s.log.Warn("a member of an account is not shown", "account", a.Name, "error", err)
				continue
			}
			all = append(all, accounts...)
		}
	}
	s.cfg = s.cfg.With(all)
}
