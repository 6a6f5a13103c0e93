package coordinator

import "time"

// storeGrace is how long it takes to store a token after the source's answer, while the
// store can be reached.
const storeGrace = 5 * time.Second

// StopTime returns how long a process should be allowed from the end of Run's context,
// or from the call of Drain, until it exits, with the accounts that there are now. By
// default that is
//
//	 15 s   to finish a call and to store its token: FetchTimeout and 5 s, in which the
//	        store can be reached
//	 55 s   if an account needs a grant: an answer is awaited for up to 40 s, and is in
//	        the store or in the Spool 15 s later
//	115 s   if there is no Spool for it: the store may be away for a minute
//
// and more by what FetchTimeout exceeds. A process that is killed sooner may lose a
// grant, or a token, which costs one more call. Nearly always all is done long before.
func (c *Coordinator) StopTime() time.Duration {
	most := c.cfg.FetchTimeout + storeGrace
	for _, a := range c.Accounts() {
		most = max(most, c.grantStopTime(a.grantRules()))
	}
	return most
}

// grantStopTime is that of an account whose source has these rules; 0: it needs no grant.
func (c *Coordinator) grantStopTime(r GrantRules) time.Duration {
	if !r.Needed {
		return 0
	}
	t := c.cfg.FetchTimeout
	if r.usedUp() {
		t = max(t, r.awaited())
	}
	t += answerGrace
	if c.cfg.Spool == nil {
		t += unspooledDrain
	}
	return t
}
