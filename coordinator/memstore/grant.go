package memstore

import (
	"context"
	"errors"
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
	server   int       // on which the newest one is the newest that anybody can remember; 0: none
	asked    int       // another server, which may have lost a newer one; 0: none
	since    time.Time // when that was first asked for the grant, by the store's clock
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

// settling returns for how long other processes may still put a newer version back, and
// since when. It notes when a server is asked for the first time. A version that is not
// there may have been lost.
func (g *grant) settling(server int, now time.Time) (left time.Duration, since time.Time) {
	if len(g.versions) > 0 && g.server == server {
		return 0, now
	}
	if g.asked != server || g.since.After(now) {
		g.asked, g.since = server, now
	}
	return max(g.since.Add(coordinator.GrantSettle).Sub(now), 0), g.since
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
	g, stored := &a.grant, a.grant.newest()
	if stored.Version > 0 && stored.Same(v.Grant) {
		return nil, nil
	}
	left, since := g.settling(server, s.Now)
	switch {
	case left > 0 && v.Consent <= stored.Consent:
		return nil, &coordinator.UnsettledError{RetryIn: left}
	case v.Version != stored.Version+1, !strings.HasPrefix(stored.SaveID, v.Predecessor()), v.Consent < stored.Consent:
		return nil, coordinator.ErrGrantChanged
	case left == 0, !time.UnixMicro(int64(v.Consent)).Before(since.Add(-coordinator.ClockSlack)): // #nosec G115 -- an instant
		g.server, g.asked = server, 0
	}
	return a.store(s, v), nil
}

// restore is the step of RestoreGrant.
func (a *account) restore(s ledger.Step, v version, server int) (*coordinator.Event, error) {
	switch stored := a.grant.newest(); {
	case stored.Version > 0 && stored.Same(v.Grant):
		return nil, nil
	case !stored.Older(v.Grant):
		return nil, errNotWritten
	}
	a.grant.settling(server, s.Now)
	return a.store(s, v), nil
}

// errNotWritten says that a step had nothing to write, and there is nothing to be confirmed.
var errNotWritten = errors.New("nothing is written")

// LoadGrant implements [coordinator.GrantStore].
func (i *Instance) LoadGrant(ctx context.Context, name string) (r coordinator.GrantReading, err error) {
	err = i.do(ctx, OpLoadGrant, func(now time.Time) error {
		g := &i.store.account(name).grant
		r.SettledIn, _ = g.settling(i.store.server, now)
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
		return a.restore(step, version{g, s}, i.store.server)
	})
}

// confirmed is step for what has to be durable. errNotWritten is no error.
func (i *Instance) confirmed(
	ctx context.Context, op Op, name string, f func(a *account, s ledger.Step) (*coordinator.Event, error),
) error {
	unsure := false
	err := i.step(ctx, op, name, func(a *account, s ledger.Step) (*coordinator.Event, error) {
		event, err := f(a, s)
		unsure = err == nil && (i.unconfirmed() || i.store.unconfirmed())
		return event, err
	})
	switch {
	case errors.Is(err, errNotWritten):
		return nil
	case err == nil && unsure:
		return coordinator.ErrUnconfirmed
	}
	return err
}

// DropGrant implements [coordinator.GrantStore].
func (i *Instance) DropGrant(ctx context.Context, name string, g coordinator.Grant) error {
	return i.confirmed(ctx, OpDropGrant, name, func(a *account, s ledger.Step) (*coordinator.Event, error) {
		if stored := a.grant.newest(); stored.Version == 0 || !stored.Same(g) {
			return nil, errNotWritten
		}
		a.grant = grant{members: a.grant.members}
		i.changed(name, s.Now)
		return nil, nil
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
	return i.confirmed(ctx, OpSetMember, name, func(a *account, _ ledger.Step) (*coordinator.Event, error) {
		g := &a.grant
		if !present {
			delete(g.members, member)
			return nil, nil
		}
		if g.members == nil {
			g.members = make(map[string]struct{})
		}
		g.members[member] = struct{}{}
		return nil, nil
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
