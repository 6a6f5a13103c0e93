package wecom

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// This file keeps the accounts of a process in line with the members of the suite's
// account: the corps that have the suite.

// sync exchanges what is pending, and brings the accounts in line with the members.
// unsettled says that there are auth_codes which could not be exchanged yet.
func (s *Suite) sync(ctx context.Context) (unsettled bool) {
	members, err := s.config.Account.Members(ctx)
	if err != nil {
		s.log.Debug("the suite's corps cannot be read", "error", err)
		return false
	}
	if pending := slices.DeleteFunc(slices.Clone(members), func(name string) bool { return !s.isPending(name) }); len(pending) > 0 {
		unsettled = s.settleAll(ctx, pending)
		if members, err = s.config.Account.Members(ctx); err != nil {
			return unsettled
		}
	}
	listed := make(map[string]bool, len(members))
	for _, name := range members {
		if corpID, ok := s.corpOf(name); ok && !s.isLeftOut(name) && !s.isWithdrawn(ctx, name) {
			listed[name] = true
			s.follow(name, corpID)
		}
	}
	for name := range s.followed {
		if !listed[name] && (s.isLeftOut(name) || s.isGone(ctx, name)) {
			s.unfollow(name)
		}
	}
	s.verify(ctx)
	return unsettled
}

// isLeftOut reports whether a corp gets no account by the configuration.
func (s *Suite) isLeftOut(name string) bool {
	corpID, _ := s.corpOf(name)
	return s.config.Corps != nil && !slices.Contains(s.config.Corps, corpID)
}

// consent stores what an event has brought for a corp's account, a permanent code or none
// (see consented), and has the members follow the grant. It can be repeated: the member
// of a permanent code is known when the auth_code is forgotten, and that of a withdrawn one,
// if the process ends in between, is found by isWithdrawn.
func (s *Suite) consent(ctx context.Context, name string, code coordinator.Token, at time.Time) (member bool, err error) {
	err = s.changeCode(ctx, name, func(g coordinator.Grant, now time.Time) (coordinator.Grant, bool) {
		return consented(g, code, at, now)
	})
	if err != nil && !errors.Is(err, coordinator.ErrNotCopied) {
		return false, err
	}
	member, failed := s.enlist(ctx, name)
	return member, errors.Join(err, failed)
}

// enlist makes a corp a member if its grant has a permanent code, and no member if it has
// none. It reads the grant again afterwards: another process that has changed it meanwhile
// may have been the first to set the member.
func (s *Suite) enlist(ctx context.Context, name string) (member bool, err error) {
	for set := false; ; set = true {
		r, err := s.config.Grants.LoadGrant(ctx, name)
		if err != nil {
			return false, err
		}
		has := len(r.Grant.Tokens) > 0
		if set && has == member {
			return member, nil
		}
		member = has
		if err := s.config.Account.SetMember(ctx, name, member); err != nil {
			return false, err
		}
	}
}

// isWithdrawn reports whether the permanent code of a member was withdrawn: the process
// that has done it has ended before it removed the member, who is removed now.
func (s *Suite) isWithdrawn(ctx context.Context, name string) bool {
	account := s.followed[name]
	if account == nil {
		return false
	}
	if g := account.Status().Grant; g == nil || g.Version == 0 || g.Newest > 0 {
		return false
	}
	member, err := s.enlist(ctx, name)
	return err == nil && !member
}

// isGone reports whether a corp that is not among the members has removed the suite: its
// permanent code was withdrawn. Otherwise the store has lost its members, and gets this
// one back; the account puts its grant back itself.
func (s *Suite) isGone(ctx context.Context, name string) bool {
	r, err := s.config.Grants.LoadGrant(ctx, name)
	switch {
	case err != nil:
		return false
	case r.Grant.Version > 0 && len(r.Grant.Tokens) == 0:
		return true
	}
	s.log.Warn("the store has lost a corp of the suite: it is put back", "member", name)
	if err := s.config.Account.SetMember(ctx, name, true); err != nil {
		s.log.Warn("a corp cannot be put back yet", "member", name, "error", err)
	}
	return false
}

// restoreMembers puts back the members of which there is a copy, and the auth_codes, if
// the store has nothing newer of them. It is done before the members are read first, and
// returns false if it has to be tried again.
func (s *Suite) restoreMembers(ctx context.Context) (done bool) {
	if s.config.Copy == nil {
		return true
	}
	names, err := s.config.Copy.Accounts(ctx)
	done = err == nil
	for _, name := range names {
		if strings.HasPrefix(name, s.prefix) {
			if failed := s.restoreMember(ctx, name); failed != nil {
				done, err = false, failed
			}
		}
	}
	if err != nil {
		s.log.Warn("the copies of the suite's grants cannot all be read", "error", err)
	}
	return done
}

func (s *Suite) restoreMember(ctx context.Context, name string) error {
	g, err := s.config.Copy.Get(ctx, name)
	if err != nil || len(g.Tokens) == 0 {
		return err
	}
	r, err := s.config.Grants.LoadGrant(ctx, name)
	if err != nil || g.Older(r.Grant) {
		return err
	}
	if s.isPending(name) {
		if err := s.config.Grants.RestoreGrant(ctx, name, g, g.Summary(pendingRules(), r.Now)); err != nil {
			return err
		}
	}
	return s.config.Account.SetMember(ctx, name, true)
}

// follow adds a corp's account if it is not there.
func (s *Suite) follow(name, corpID string) {
	if s.followed[name] != nil {
		return
	}
	var account *coordinator.Account
	source, parent, err := s.source(corpID)
	if err == nil {
		account, err = s.config.Add(name, source, parent)
	}
	if err != nil {
		if text := err.Error(); s.refused[name] != text {
			s.refused[name] = text
			s.log.Error("the account of a corp cannot be added", "corp", corpID, "error", err)
		}
		return
	}
	delete(s.refused, name)
	s.followed[name] = account
	s.log.Info("a corp has the suite", "corp", corpID, "member", name)
}

func (s *Suite) unfollow(name string) {
	if err := s.config.Remove(name); err != nil && !errors.Is(err, coordinator.ErrUnknownAccount) {
		s.log.Error("the account of a corp cannot be removed", "member", name, "error", err)
		return
	}
	delete(s.followed, name)
	s.log.Info("a corp has the suite no more", "member", name)
}

// verify asks for the tokens of the corps that may have removed the suite, in the
// background.
func (s *Suite) verify(ctx context.Context) {
	s.mu.Lock()
	doubted := s.doubted
	s.doubted = map[string]bool{}
	s.mu.Unlock()
	for name := range doubted {
		if account := s.followed[name]; account != nil {
			s.refreshes.Go(func() { s.refresh(ctx, account) })
		}
	}
}

// doubt has verify look at an account.
func (s *Suite) doubt(account string) {
	s.mu.Lock()
	s.doubted[account] = true
	s.mu.Unlock()
	s.wake()
}

// refreshTimeout is how long a refresh is waited for.
const refreshTimeout = 30 * time.Second

func (s *Suite) refresh(ctx context.Context, account *coordinator.Account) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	if _, err := account.Refresh(ctx); err != nil {
		s.log.Debug("a refresh has brought no token", "member", account.Name(), "error", err)
	}
}
