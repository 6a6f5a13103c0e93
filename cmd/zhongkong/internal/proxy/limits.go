package proxy

import (
	"cmp"
	"net/netip"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// Limits bound how many calls may be under way.
type Limits struct {
	All  int // of all callers; zero: 4096
	Each int // of one caller, or one address of callers without a name, for one account; zero: 512
}

// Of calls without a caller, whose user's token proves itself to WeChat (see isUsers),
// fewer may be under way.
const (
	maxUnproved         = 32 // for one account
	maxUnprovedOfSource = 8  // of them, of one address
)

// maxUnprovedBody bounds the bodies of such calls. WeChat asks for none. As many as there
// may be connections are in memory at once.
const maxUnprovedBody = 4 << 10

// withDefaults returns l with its zero fields filled in.
func (l Limits) withDefaults() Limits {
	return Limits{All: cmp.Or(max(l.All, 0), 4096), Each: cmp.Or(max(l.Each, 0), 512)}
}

// slot is who calls for which account.
type slot struct {
	account, caller string
	source          netip.Addr // of a call whose caller has no name
	unproved        bool
}

func (c *call) slot() slot {
	s := slot{account: c.route.Account, caller: c.caller.Name(), unproved: c.isUnproved()}
	if s.caller == "" {
		s.source = auth.Source(auth.Addr(c.in.RemoteAddr))
	}
	return s
}

// acquire counts a call if the limits allow it. Each successful acquire is followed by a
// release.
func (p *Proxy) acquire(at slot) bool {
	if !at.unproved {
		return p.slots.Acquire(at, p.cfg.Limits.Each)
	}
	if !p.unproved.Acquire(at.account, maxUnproved) {
		return false
	}
	if p.slots.Acquire(at, maxUnprovedOfSource) {
		return true
	}
	p.unproved.Release(at.account)
	return false
}

func (p *Proxy) release(at slot) {
	p.slots.Release(at)
	if at.unproved {
		p.unproved.Release(at.account)
	}
}
