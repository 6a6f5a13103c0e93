package coordinator

import "time"

// replaceEvery is the least time between two replacements of unusable records by
// one process. Two processes that cannot open each other's would refresh without
// end.
const replaceEvery = 5 * time.Minute

// fault is what is wrong with the store's data of an account.
type fault struct {
	err       error   // why they cannot be used; nil: they can
	logged    instant // when the log last said so
	barred    Fence   // the generation of a record that cannot be used; nothing older may be served
	replacing Fence   // our attempt to replace it
	replaceAt instant // it is not replaced before
}

// set takes over what a reading says, and returns it if it is to be logged.
func (f *fault) set(s State, e env) (complaint error) {
	if s.Err == nil || f.err == nil || f.err.Error() != s.Err.Error() {
		f.logged = 0
	}
	f.err, f.barred = s.Err, 0
	if s.Err == nil {
		return nil
	}
	if !s.Record.Usable() {
		f.barred = s.Record.Generation
	}
	return f.complain(s.Err, e)
}

// complain returns err at once and each minute again.
func (f *fault) complain(err error, e env) error {
	if f.logged != 0 && e.now < f.logged+instant(remindEvery) {
		return nil
	}
	f.logged = e.now
	return err
}

// faultRetryAt is when an account is tried again after an error that concerns it alone
// and needs an operator.
func faultRetryAt(e env) instant { return e.now + e.jitter(e.cfg.PollEvery/10) }

// replacedBy takes in that a record of this generation is stored.
func (f *fault) replacedBy(generation Fence) {
	if generation >= f.barred {
		f.err, f.barred = nil, 0
	}
}

// begun notes an attempt that replaces what cannot be used.
func (f *fault) begun(attempt Fence) {
	if f.err != nil {
		f.replacing = attempt
	}
}

// committed takes in that an attempt of this process has stored its token. err may
// be gone: our own notification was faster.
func (f *fault) committed(attempt Fence, e env) {
	if f.replacing == attempt {
		f.replaceAt = e.now + e.jitter(replaceEvery)
	}
	f.err, f.barred = nil, 0
}

// waits returns err while this process does not replace the record.
func (f fault) waits(e env) error {
	if !e.refresher() || e.now < f.replaceAt {
		return f.err
	}
	return nil
}
