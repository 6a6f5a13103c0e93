package coordinator

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Config is what a Coordinator is made of. Only Store is required.
type Config struct {
	// Store is what this process shares with the others. The coordinator
	// does not close it.
	Store Store

	// Accounts are added at once; more can be added with Coordinator.Add.
	Accounts []AccountConfig

	// RefreshEvery is how old a token gets before it is replaced; zero: what the
	// account's source says (see Description), else 1 h. Half the token's life is the
	// limit whatever it says, and a source that names a time is asked at that time.
	RefreshEvery time.Duration

	// Limits bound the calls to the source; zero fields mean what the account's source
	// says, else DefaultLimits. Where PerDay is set and Reserve is not, that is a tenth
	// of PerDay at most.
	Limits Limits

	// LockTTL is how long a killed process keeps the others from
	// refreshing; zero: 3 s. A live one extends lock and attempt while it
	// fetches, so that FetchTimeout may be longer. 1 s to 1 min. Each extension
	// must succeed within a third of it.
	LockTTL time.Duration

	// FetchTimeout bounds one call to the source; zero: 10 s. At least 100 ms,
	// at most 1 min and ten times LockTTL: a call lives only as long as each
	// extension in turn gets through.
	FetchTimeout time.Duration

	// PollEvery is how often each account is read again although no
	// notification came, with a jitter of a tenth; zero: 1 min. 1 s to 4 min. It bounds for
	// how long a lost notification can go unnoticed, so it has to stay well
	// below the time the issuer lets the previous token live (WeChat: 5 min).
	// Where the store tells which accounts have changed (see ChangeStore), an
	// account is read within PollEvery after a change, once, and each PollEvery
	// only while it has no usable token, an overdue attempt, or a token that
	// should have been replaced.
	PollEvery time.Duration

	// ProbeEvery is how often the changes of all accounts are read from a
	// ChangeStore. From another store a refresher reads one account at random,
	// and a reader a quarter as often. So they find out that the store lost
	// its data or a notification; zero: 500 ms. 10 ms to PollEvery.
	ProbeEvery time.Duration

	// MaxFetches is how many calls to sources may be under way at once in
	// this process, not counting those of accounts that have children; zero: 64. At least 1.
	MaxFetches int

	// Logger receives state changes at Info, and at Warn or Error what an
	// operator should look at. It never receives a token. Nil: nothing is
	// logged.
	Logger *slog.Logger

	// Spool and Copy keep grants outside of the store; see GrantSpool and GrantCopy.
	// Nil: a token that was used up and whose successor was not yet stored is lost with
	// this process, all grants are lost with the store's disk.
	Spool GrantSpool
	Copy  GrantCopy

	// Observe is called synchronously for each Observation, from many
	// goroutines: it must return at once. Nil: observations are only counted
	// (see Coordinator.Stats).
	Observe func(Observation)
}

// AccountConfig is one account.
type AccountConfig struct {
	// Name is the account's name in the store (for WeChat: the AppID).
	Name string

	// Source issues the account's tokens. Nil makes this process a reader.
	Source Source

	// Parent is the name of the account whose current token the Source needs: the
	// access_token for a ticket. That account must be added to the same Coordinator
	// before, and Remove refuses it while it has children. If Fetch fails with
	// FailedParent, the parent's token is reported as Refresh reports it, and Fetch is
	// called once more with the new one. "": none.
	Parent string

	// RefreshEvery and Limits override the Config's; zero fields do not, but that a
	// PerDay without a Reserve lowers that to a tenth of it.
	RefreshEvery time.Duration
	Limits       Limits
}

// DefaultLimits returns the limits that replace zero fields. They suit a WeChat
// account: 2000 calls a day, the last 200 of them reserved for the schedule, and
// at least a second between demanded refreshes.
func DefaultLimits() Limits {
	return Limits{PerDay: 2000, Reserve: 200, MinInterval: time.Second}
}

// maxLockTTL is the longest Config.LockTTL.
const maxLockTTL = time.Minute

// What lies further ahead than these was not written by this package, or was
// written before the store's clock was set back. A store and a coordinator ignore
// it.
const (
	// MaxFenceAhead is how far ahead of the store's clock a fence may lie: a
	// fence is the clock's time in µs, or follows one that was.
	MaxFenceAhead = 24 * time.Hour

	// MaxRetry is the longest back-off after a failure. An issuer's quota ends
	// with its day.
	MaxRetry = 24 * time.Hour

	// MaxAttributes is how many bytes the attributes of a token may have.
	MaxAttributes = 4096

	// MaxLifetime is the longest life of a token.
	MaxLifetime = 366 * 24 * time.Hour
)

// ClockSlack is by how much the clocks of a store's servers may differ.
const ClockSlack = 5 * time.Second

// MaxAhead is the furthest ahead of the store's clock that a lock or an attempt can
// legitimately end: the longest Config.LockTTL, and ClockSlack. A later end was written
// before the clock was set back and is ignored.
const MaxAhead = maxLockTTL + ClockSlack

const (
	defaultRefreshEvery = time.Hour
	defaultLockTTL      = 3 * time.Second
	defaultFetchTimeout = 10 * time.Second
	defaultPollEvery    = time.Minute
	defaultProbeEvery   = 500 * time.Millisecond
	defaultMaxFetches   = 64
	maxNameLen          = 128
)

// withDefaults returns c with its zero fields filled in, but for those on which an
// account and its source have a say: see Config.rules.
func (c Config) withDefaults() Config {
	c.LockTTL = cmp.Or(c.LockTTL, defaultLockTTL)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, defaultFetchTimeout)
	c.PollEvery = cmp.Or(c.PollEvery, defaultPollEvery)
	c.ProbeEvery = cmp.Or(c.ProbeEvery, defaultProbeEvery)
	c.MaxFetches = cmp.Or(c.MaxFetches, defaultMaxFetches)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// or returns l with zero fields taken from d. A reserve that suits another budget is none.
func (l Limits) or(d Limits) Limits {
	if l.PerDay > 0 {
		d.Reserve = min(d.Reserve, l.tenth())
	}
	return Limits{
		PerDay:      cmp.Or(l.PerDay, d.PerDay),
		Window:      cmp.Or(l.Window, d.Window),
		DayBegins:   cmp.Or(l.DayBegins, d.DayBegins),
		Reserve:     cmp.Or(l.Reserve, d.Reserve),
		MinInterval: cmp.Or(l.MinInterval, d.MinInterval),
	}
}

// Validate reports everything that is wrong with c, each with the field's
// name and what to do. New calls it.
func (c Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Store == nil {
		wrong("Store is missing: pass what the processes share, for example a redisstore.Store")
	}
	c = c.withDefaults()
	if c.LockTTL < time.Second || c.LockTTL > maxLockTTL {
		wrong("LockTTL is %v: it must be 1s to 1m", c.LockTTL)
	}
	if c.FetchTimeout < 100*time.Millisecond || c.FetchTimeout > time.Minute {
		wrong("FetchTimeout is %v: it must be 100ms to 1m", c.FetchTimeout)
	}
	if c.FetchTimeout > 10*c.LockTTL {
		wrong("LockTTL (%v) is too far below the fetch deadline: FetchTimeout (%v) may be ten times as long; "+
			"raise LockTTL to %v or lower FetchTimeout to %v", c.LockTTL, c.FetchTimeout, c.FetchTimeout/10, 10*c.LockTTL)
	}
	if c.PollEvery < time.Second || c.PollEvery > 4*time.Minute {
		wrong("PollEvery is %v: it must be 1s to 4m, below the 5 minutes a replaced token lives", c.PollEvery)
	}
	if c.ProbeEvery < 10*time.Millisecond || c.ProbeEvery > c.PollEvery {
		wrong("ProbeEvery is %v: it must be 10ms to PollEvery (%v)", c.ProbeEvery, c.PollEvery)
	}
	if c.MaxFetches < 1 {
		wrong("MaxFetches is %d: it must be at least 1", c.MaxFetches)
	}
	_, err := c.rules(AccountConfig{})
	errs = append(errs, err)
	seen := make(map[string]bool, len(c.Accounts))
	for _, a := range c.Accounts {
		if _, err := c.account(a); err != nil {
			wrong("account %q: %w", a.Name, err)
		}
		if a.Parent != "" && !seen[a.Parent] {
			wrong("account %q: Parent is %q: no account of that name comes before it", a.Name, a.Parent)
		}
		if seen[a.Name] {
			wrong("account %q is there twice: remove one", a.Name)
		}
		seen[a.Name] = true
	}
	return errors.Join(errs...)
}

// account validates an account, and returns its rules.
func (c Config) account(a AccountConfig) (rules, error) {
	r, err := c.rules(a)
	if name := ValidateName(a.Name); name != nil {
		err = errors.Join(fmt.Errorf("Name: %w", name), err)
	}
	return r, err
}

// ValidateName reports what is wrong with an account's name; nil if nothing is.
// A name is 1 to 128 bytes of UTF-8 without spaces, control characters and any of
//
//	{ } * ? [ ] / \ : , " ' `
//
// so that it can be part of a Redis key and its hash tag, of a URL's path, of a
// list and of a shell command. A Store may rely on that.
func ValidateName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty: use the AppID, or what else identifies the account")
	case len(name) > maxNameLen:
		return fmt.Errorf("the name has %d bytes: %d is the limit", len(name), maxNameLen)
	case !utf8.ValidString(name):
		return errors.New("the name is not UTF-8")
	}
	for _, r := range name {
		if r == ' ' || unicode.IsControl(r) || strings.ContainsRune("{}*?[]/\\:,\"'`", r) {
			return fmt.Errorf("the name must not hold %q: use letters, digits and - _ . @", r)
		}
	}
	return nil
}

func validateSchedule(every time.Duration, l Limits) error {
	switch {
	case every < time.Second:
		return fmt.Errorf("RefreshEvery is %v: it must be at least 1s", every)
	case l.PerDay < 1:
		return fmt.Errorf("Limits.PerDay is %d: it must be at least 1", l.PerDay)
	case l.window() < time.Second || l.window() > MaxLifetime:
		return fmt.Errorf("Limits.Window is %v: it must be 1s to 8784h (366 days); 0 is a day", l.Window)
	case l.DayBegins < 0 || l.DayBegins >= wholeDay:
		return fmt.Errorf("Limits.DayBegins is %v: it must be 0 to less than 24h, counted from midnight in UTC+8", l.DayBegins)
	case l.Reserve < 0 || l.Reserve >= l.PerDay:
		return fmt.Errorf("Limits.Reserve is %d: it must be 0 to less than Limits.PerDay (%d)", l.Reserve, l.PerDay)
	case l.MinInterval < 0:
		return fmt.Errorf("Limits.MinInterval is %v: it must not be negative", l.MinInterval)
	}
	return nil
}
