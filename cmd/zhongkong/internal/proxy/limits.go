package proxy

import "cmp"

// Limits bound how many calls may be under way.
type Limits struct {
	All  int // of all callers; zero: 4096
	Each int // of one caller for one account; zero: 512
}

// maxUnproved is how many calls without a caller may be under way for an account:
// those whose user's token proves itself to WeChat (see isUsers).
const maxUnproved = 32

// withDefaults returns l with its zero fields filled in.
func (l Limits) withDefaults() Limits {
	return Limits{All: cmp.Or(max(l.All, 0), 4096), Each: cmp.Or(max(l.Each, 0), 512)}
}

// slot is who calls for which account. Who holds a real token has no name.
type slot struct {
	account, caller string
	unproved        bool
}
