package memstore

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/ledger"
)

// grant is the grant of an account. Needs the store's mu.
type grant struct {
	versions []version // the newest last; the others are there to be gone back to
	server   int       // that stored it last, or was asked for it; 0: none yet
	settled  time.Time // by the store's clock
	members  map[string]struct{}
}

type version struct {
	coordinator.Grant
	summary coordinator.GrantSummary
}

// maxVersions is how many versions of a grant LoseGrantWrites can go back.
const maxVersions = 100

// read returns what Load returns of the account.
func (a *account) read(s ledger.Step) coordinator.State {
	state := a.State(s)
	if v := a.grant.newest(); v.Version > 0 {
		state.Grant = &v.summary
	}
	return state
}

// newest returns the stored version, the zero version if there is none.
func (g *grant) newest() version {
	if len(g.versions) == 0 {
		return version{}
	}
	return g.versions[len(g.versions)-1]
}

func (g grant) clone() grant {
	g.versions, g.members = slices.Clone(g.versions), maps.Clone(g.members)
	return g
}

// enter notes on which server the grant is asked for, and returns for how long its
// newest writes may be missing.
func (g *grant) enter(server int, now time.Time) (settledIn time.Duration) {
	if g.server != server {
		g.server, g.settled = server, now.Add(coordinator.GrantSettle)
	}
	return max(g.settled.Sub(now), 0)
}

// store stores a version and returns the event of it.
func (a *account) store(s ledger.Step, v version) *coordinator.Event {
	g := &a.grant
	g.versions = append(g.versions, v)
	g.versions = g.versions[max(0, len(g.versions)-maxVersions):]
	if !v.summary.Received {
		a.Lift(s, max(v.summary.Newest, v.summary.Consent))
	}
	summary := v.summary
	return &coordinator.Event{Kind: coordinator.EventGrant, Account: s.Account, By: s.Instance, Grant: &summary}
}

// save is the step of SaveGrant.
func (a *account) save(s ledger.Step, v version, server int) (*coordinator.Event, error) {
	settledIn, stored := a.grant.enter(server, s.Now), a.grant.newest()
	consent := v.Consent > stored.Consent
	switch {
	case stored.Version > 0 && stored.Same(v.Grant):
		return nil, nil
	case settledIn > 0 && !consent:
		return nil, &coordinator.UnsettledError{RetryIn: settledIn}
	case v.Version != stored.Version+1, !strings.HasPrefix(stored.SaveID, v.Predecessor()):
		return nil, coordinator.ErrGrantChanged
	case consent:
		a.grant.settled = s.Now
	}
	return a.store(s, v), nil
}

// restore is the step of RestoreGrant.
func (a *account) restore(s ledger.Step, v version, server int) *coordinator.Event {
	a.grant.enter(server, s.Now)
	if !a.grant.newest().Older(v.Grant) {
		return nil
	}
	return a.store(s, v)
}

// LoadGrant implements [coordinator.GrantStore].
func (i *Instance) LoadGrant(ctx context.Context, name string) (r coordinator.GrantReading, err error) {
	err = i.do(ctx, OpLoadGrant, func(now time.Time) error {
		g := &i.store.account(name).grant
		r.SettledIn = g.enter(i.store.server, now)
		r.Grant, r.Now = g.newest().Grant, now
		return nil
	})
	if err != nil {
		return coordinator.GrantReading{}, err
	}
	return r, nil
}

// SaveGrant implements [coordinator.GrantStore].
func (i *Instance) SaveGrant(ctx context.Context, name string, g coordinator.Grant, s coordinator.GrantSummary) error {
	return i.confirmed(ctx, OpSaveGrant, name, func(a *account, step ledger.Step) (*coordinator.Event, error) {
		return a.save(step, version{g, s}, i.store.server)
	})
}

// RestoreGrant implements [coordinator.GrantStore].
func (i *Instance) RestoreGrant(ctx context.Context, name string, g coordinator.Grant, s coordinator.GrantSummary) error {
	return i.confirmed(ctx, OpRestoreGrant, name, func(a *account, step ledger.Step) (*coordinator.Event, error) {
		return a.restore(step, version{g, s}, i.store.server), nil
	})
}

// confirmed is step for what has to be durable.
func (i *Instance) confirmed(
	ctx context.Context, op Op, name string, f func(a *account, s ledger.Step) (*coordinator.Event, error),
) error {
	unsure := false
	err := i.step(ctx, op, name, func(a *account, s ledger.Step) (*coordinator.Event, error) {
		event, err := f(a, s)
		unsure = err == nil && (i.unconfirmed() || i.store.unconfirmed())
		return event, err
	})
	if err == nil && unsure {
		return coordinator.ErrUnconfirmed
	}
	return err
}

// DropGrant implements [coordinator.GrantStore].
func (i *Instance) DropGrant(ctx context.Context, name string, g coordinator.Grant) error {
	return i.do(ctx, OpDropGrant, func(now time.Time) error {
		a := i.store.account(name)
		a.grant.enter(i.store.server, now)
		if a.grant.newest().Same(g) {
			a.grant.versions = nil
			i.changed(name, now)
		}
		return nil
	})
}

// GrantMembers implements [coordinator.GrantStore].
func (i *Instance) GrantMembers(ctx context.Context, name string) (members []string, err error) {
	err = i.do(ctx, OpMembers, func(time.Time) error {
		members = slices.Sorted(maps.Keys(i.store.account(name).grant.members))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// SetGrantMember implements [coordinator.GrantStore].
func (i *Instance) SetGrantMember(ctx context.Context, name, member string, present bool) error {
	return i.do(ctx, OpSetMember, func(time.Time) error {
		g := &i.store.account(name).grant
		if !present {
			delete(g.members, member)
			return nil
		}
		if g.members == nil {
			g.members = make(map[string]struct{})
		}
		g.members[member] = struct{}{}
		return nil
	})
}

// PeekGrant returns the grant that is stored. No switch affects it, and Calls does not
// count it.
func (s *Store) PeekGrant(account string) coordinator.Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account(account).grant.newest().Grant
}

// ChangeServer makes the server another one, as a restart or a failover does that has
// lost nothing.
func (s *Store) ChangeServer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server++
}

// LoseGrantWrites loses the newest n writes of an account's grant, as a failover to a
// replica that lagged does, and notifies no one of it. The server is another one then.
func (s *Store) LoseGrantWrites(account string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &s.account(account).grant
	g.versions = g.versions[:max(0, len(g.versions)-n)]
	s.server++
}
