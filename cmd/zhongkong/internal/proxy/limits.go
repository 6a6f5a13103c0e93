package proxy

import (
	"cmp"
	"net/netip"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// Limits bound how many calls may be under way.
type Limits struct {
	All  int // of all callers; zero: 4096
	Each int // of one caller, or one address of callers without a name, for one account; zero: 512
}

// Of calls without a caller, whose user's token proves itself to WeChat (see isUsers),
// fewer may be under way, unless they come from a known source.
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
	known           bool // an unproved one's source, see knownSources
}

func (c *call) slot() slot {
	s := slot{account: c.route.Account, caller: c.caller.Name(), unproved: c.isUnproved()}
	source := auth.Source(auth.Addr(c.in.RemoteAddr))
	if s.caller != "" {
		c.route.p.known.note(source)
		return s
	}
	s.source, s.known = source, s.unproved && c.route.p.known.has(source)
	return s
}

// knownSources are those from which a call came whose caller has a name, not long ago: an
// application server logs its users in, and then makes the calls with their tokens.
type knownSources struct {
	mu   sync.Mutex // guards seen
	seen map[netip.Addr]time.Time
}

const (
	knownFor = time.Hour
	maxKnown = 4096 // when there are more, all are forgotten
)

func (k *knownSources) note(source netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, again := k.seen[source]; k.seen == nil || !again && len(k.seen) >= maxKnown {
		k.seen = make(map[netip.Addr]time.Time)
	}
	k.seen[source] = time.Now()
}

func (k *knownSources) has(source netip.Addr) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.seen[source]
	return ok && time.Since(at) <= knownFor
}

// acquire counts a call if the limits allow it. Each successful acquire is followed by a
// release.
func (p *Proxy) acquire(at slot) bool {
	if !at.unproved || at.known {
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
	if at.unproved && !at.known {
		p.unproved.Release(at.account)
	}
}
