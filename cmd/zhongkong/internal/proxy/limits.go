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

// maxUnproved is how many calls without a caller may be under way for an account:
// those whose user's token proves itself to WeChat (see isUsers).
const maxUnproved = 32

// maxUnprovedBody bounds the bodies of such calls. WeChat asks for none.
const maxUnprovedBody = 64 << 10

// withDefaults returns l with its zero fields filled in.
func (l Limits) withDefaults() Limits {
	return Limits{All: cmp.Or(max(l.All, 0), 4096), Each: cmp.Or(max(l.Each, 0), 512)}
}

// slot is who calls for which account.
type slot struct {
	account, caller string
	source          netip.Addr // of a caller that is known by a real token only
	unproved        bool
}

func (c *call) slot() slot {
	s := slot{account: c.route.Account, caller: c.caller.Name(), unproved: c.isUnproved()}
	if c.byToken {
		s.source = auth.Source(auth.Addr(c.in.RemoteAddr))
	}
	return s
}
