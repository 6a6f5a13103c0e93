package page

import (
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/coordinator"
)

// grant is what a card shows of the account's grant.
type grant struct {
	Condition coordinator.GrantCondition
	Pushed    bool // see wire.Grant
	Since     time.Time
	Ends      []grantEnd
	Trouble   string // begins the keys of the texts about it; "": there is none
	advice    string // in English, as a failure's message has it
}

type grantEnd struct {
	How  string // as in wire.Grant
	At   time.Time
	Left time.Duration // 0: it is over
	Near bool
}

// tells reports whether a failure says only what the grant's own text says.
func (g *grant) tells(f *failure) bool {
	return g != nil && g.Trouble != "" && f != nil && strings.Contains(f.Message, g.advice)
}

// newGrant returns nil if the account needs no grant and has none. now is by the store's
// clock.
func newGrant(s *coordinator.GrantSummary, now time.Time) *grant {
	told := wire.NewGrantFromMemory(s)
	if told == nil {
		return nil
	}
	g := &grant{Condition: told.Condition, Pushed: told.Pushed, Since: told.Since.Time, advice: told.Advice}
	told.Ends(func(how string, at time.Time) {
		g.Ends = append(g.Ends, grantEnd{How: how, At: at, Left: max(at.Sub(now), 0), Near: told.EndsSoon(how, at, now)})
	})
	switch {
	case told.NeedsConsent() || told.Condition == coordinator.GrantDoubt:
		g.Trouble = "grant." + string(told.Condition)
	case told.NeedsAttention():
		g.Trouble = "grant.pushes"
	}
	return g
}
