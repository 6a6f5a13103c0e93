package coordinator

import "context"

// demand is a refresh that a caller demanded and that is not done yet.
type demand struct {
	reason    Reason          // "": there is none
	seen      Fence           // the generation to replace
	askedBy   string          // see WithCaller
	log       context.Context // see logContext; kept until the demand is met; nil: another process demands it
	expires   instant         // callers that still wait renew it
	allowedAt instant         // the minimum interval ends then
}

// merge adds what more asks for. The newest record that is asked for serves all.
func (d *demand) merge(more demand, e env) {
	if !d.active(e) {
		*d = demand{} // its callers have gone
	}
	if d.reason == "" || more.seen > d.seen || more.reason == ReasonForced && more.seen == d.seen {
		if d.reason != more.reason || d.askedBy == "" {
			d.askedBy, d.log = more.askedBy, more.log
		}
		d.reason, d.seen = more.reason, max(more.seen, d.seen)
	}
	d.expires = e.now + instant(e.cfg.FetchTimeout+e.cfg.LockTTL)
}

// active reports whether callers wait for it.
func (d demand) active(e env) bool { return d.reason != "" && e.now < d.expires }
