package coordinator

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Coordinator keeps the tokens of many accounts, together with every other
// process that has a coordinator on the same store. New makes one. Its methods are
// safe for concurrent use.
type Coordinator struct {
	// Locks are taken in this order, in which each path may leave out some:
	//
	//	membership | sharedSub.mu, the Subscription's, Account.mu, scheduler.mu
	//
	// An account's mu is taken before that of its parent, never after it.
	//
	// mu, rounds.mu, smoother.mu and clock.mu are taken last: nothing is called
	// under them. No lock but membership and sharedSub.mu is held while the
	// Store, Source.Fetch, the Logger or Observe is called, and those two only over
	// Subscribe, Add and Remove, which do not wait for the store.

	cfg   Config // with defaults
	store Store
	observer
	health
	log *slog.Logger
	clock
	storeClock storeClock
	slots      [slotKinds]chan struct{} // each holds one for each slot of its kind that is taken
	sub        Subscription             // Run keeps it alive; it has all accounts
	schedule   *scheduler
	feed       *feed
	smoother   smoother
	shared     sharedSub // the subscription of waiters while nothing Runs
	host       string    // see hostMark
	rounds     rounds    // the goroutines that look after accounts; Run and Drain wait for them

	grantSyncs chan struct{} // holds one for each account whose grant is compared with the store now
	spooled    chan struct{} // holds one while the spool is read; guards spooledAt
	spooledAt  time.Time     // when the spool was read last

	run      sync.Mutex                      // held by Run until it returns
	stopping atomic.Pointer[context.Context] // of the present Run; Background while nothing Runs
	drains   atomic.Int64                    // calls of Drain under way
	count    atomic.Int64                    // accounts there are

	membership sync.Mutex // held while accounts and what sub follows change together

	mu       sync.RWMutex // guards what follows
	accounts map[string]*Account
}

// New returns a coordinator. It starts nothing and does not touch the store. The
// error names everything that is wrong with cfg; see Config.Validate.
func New(cfg Config) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	cfg = cfg.withDefaults()
	c := &Coordinator{
		cfg:      cfg,
		store:    cfg.Store,
		host:     hostMark(),
		slots:    [slotKinds]chan struct{}{toCall: make(chan struct{}, cfg.MaxFetches), toRestore: make(chan struct{}, maxRestores)},
		accounts: make(map[string]*Account, len(cfg.Accounts)),

		grantSyncs: make(chan struct{}, maxGrantSyncs),
		spooled:    make(chan struct{}, 1),
	}
	c.observer.hook = cfg.Observe
	c.health.log, c.health.report, c.log = cfg.Logger, c.observe, cfg.Logger
	c.shared.c = c
	c.setLifetime(context.Background())
	c.clock.start()
	c.schedule = newScheduler(c)
	c.feed = newFeed(c)
	c.sub = c.store.Subscribe(watcher{c})
	for _, a := range cfg.Accounts {
		if _, err := c.Add(a); err != nil {
			return nil, err
		}
	}
	c.cfg.Accounts = nil // each has its own part of it
	return c, nil
}

// hostMark is short, the same for all processes of this host, and mostly another one
// elsewhere: hosts of one name share a refusal.
func hostMark() string {
	name, err := os.Hostname()
	if err != nil {
		name = rand.Text()
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return fmt.Sprintf("%08x", h.Sum32())
}

// ErrRunning is returned by Run while another Run of the same coordinator has
// not returned.
var ErrRunning = errors.New("coordinator: already running")

// Run keeps every account right until ctx ends: it follows the store's
// notifications, refreshes what is due, and puts back what the store lost. It
// blocks; every goroutine it started has ended when it returns. A call to a
// source that is under way when ctx ends is finished and its token stored
// first, which takes up to FetchTimeout and, if the store is away, ten seconds
// more. The answer to a call that may use up a grant is awaited for up to 40
// seconds instead. If the store is away then, Run goes on for ten seconds if the
// Spool has the answer, and for a minute if only this process has it. The try that
// is under way at the end of these times is finished. StopTime says what to allow
// for it. The error is nil unless the coordinator was running already.
func (c *Coordinator) Run(ctx context.Context) error {
	if !c.run.TryLock() {
		return ErrRunning
	}
	defer c.run.Unlock()
	c.lost.Store(nil)
	c.wakeUp() // from now on the schedule looks
	c.running.Store(true)
	c.setLifetime(ctx)
	for _, a := range c.Accounts() {
		c.follow(a)
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.sub.Run(ctx) })      // ends with ctx
	wg.Go(func() { c.schedule.run(ctx) }) // ends with ctx
	wg.Go(func() { c.remind(ctx) })       // ends with ctx
	wg.Go(func() { c.watchSpool(ctx) })   // ends with ctx
	wg.Wait()

	c.running.Store(false)
	c.connected.Store(false)
	for _, a := range c.Accounts() {
		a.apply(func(v *view, _ env) effects { return v.withdrawn() })
	}
	<-c.rounds.none()
	c.setLifetime(context.Background())
	for _, a := range c.Accounts() {
		a.apply(func(*view, env) effects { return effects{broadcast: true} })
	}
	return nil
}

// lifetime is the context under which rounds may begin a refresh.
func (c *Coordinator) lifetime() context.Context { return *c.stopping.Load() }

func (c *Coordinator) setLifetime(ctx context.Context) { c.stopping.Store(&ctx) }

const (
	// subscribeWithin is how long the schedule waits for the subscription
	// before it reads an account without, unless the subscription says before
	// that it cannot be had, and subscribeEach how much longer for each account
	// there is: to read all before and again after they are subscribed keeps a
	// busy store from subscribing them.
	subscribeWithin = 10 * time.Second
	subscribeEach   = 50 * time.Microsecond
)

// follow has the account read once Run is under way, at the latest when the
// subscription should have said so.
func (c *Coordinator) follow(a *Account) {
	grace := subscribeWithin + time.Duration(c.count.Load())*subscribeEach
	a.apply(func(v *view, e env) effects { return v.readBy(grace, e) })
}

// Start runs the coordinator in the background: stop ends Run and returns when Run
// has, so that a token issued at that moment is stored first. Ending ctx ends Run
// as well, but a program must not exit before stop has returned:
//
//	stop := c.Start(ctx)
//	defer stop()
//
// stop may be called more than once. If the coordinator is running already, Start
// logs ErrRunning and does nothing else.
func (c *Coordinator) Start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends with ctx; stop waits for it
		defer close(done)
		if err := c.Run(ctx); err != nil {
			c.log.Error("not started", "error", err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// Add adds an account while the coordinator runs or not.
func (c *Coordinator) Add(cfg AccountConfig) (*Account, error) {
	a, err := newAccount(c, cfg)
	if err != nil {
		return nil, fmt.Errorf("coordinator: account %q: %w", cfg.Name, err)
	}
	c.membership.Lock()
	defer c.membership.Unlock()
	if _, ok := c.Account(cfg.Name); ok {
		return nil, fmt.Errorf("coordinator: account %q is there already", cfg.Name)
	}
	if cfg.Parent != "" {
		parent, ok := c.Account(cfg.Parent)
		if !ok {
			return nil, fmt.Errorf("coordinator: account %q: Parent: there is no account %q: add it first", cfg.Name, cfg.Parent)
		}
		parent.adopt()
		a.family = &family{parent: parent}
	}
	c.mu.Lock()
	c.accounts[cfg.Name] = a
	c.mu.Unlock()
	c.count.Add(1)
	c.sub.Add(a.Role(), a.name)
	c.follow(a)
	return a, nil
}

// Remove removes an account. Calls that wait for its token return
// ErrUnknownAccount; what is in the store stays there. The children of an account have
// to be removed before it.
func (c *Coordinator) Remove(name string) error {
	c.membership.Lock()
	defer c.membership.Unlock()
	a, ok := c.Account(name)
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownAccount, name)
	}
	if a.family != nil && a.family.children > 0 { // both change with membership held only
		return fmt.Errorf("coordinator: account %q is the parent of %d others: remove them first", name, a.family.children)
	}
	c.mu.Lock()
	delete(c.accounts, name)
	c.mu.Unlock()
	c.count.Add(-1)
	c.sub.Remove(name)
	c.schedule.remove(a)
	a.apply(func(v *view, _ env) effects { return v.dropped() })
	if parent := a.parent(); parent != nil {
		parent.release(a)
	}
	return nil
}

// Account returns an account by its name.
func (c *Coordinator) Account(name string) (*Account, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	a, ok := c.accounts[name]
	return a, ok
}

// Accounts returns all accounts, sorted by name.
func (c *Coordinator) Accounts() []*Account {
	c.mu.RLock()
	all := make([]*Account, 0, len(c.accounts))
	for _, a := range c.accounts {
		all = append(all, a)
	}
	c.mu.RUnlock()
	slices.SortFunc(all, func(a, b *Account) int { return cmp.Compare(a.name, b.name) })
	return all
}

// Token returns the current token of the account with the given name; see
// Account.Token.
func (c *Coordinator) Token(ctx context.Context, name string) (Token, error) {
	a, ok := c.Account(name)
	if !ok {
		return Token{}, fmt.Errorf("%w: %q", ErrUnknownAccount, name)
	}
	return a.Token(ctx)
}

// Connected reports whether the store's notifications reach this process.
// While they do not, what it holds is served and marked stale.
func (c *Coordinator) Connected() bool { return c.connected.Load() }

// StoreError returns why the store cannot be used now, nil if it can: it cannot be
// asked (ErrUnreachable), denies what this process needs (ErrDenied), takes no
// refresh though it can be read, or its notifications do not arrive. While nothing
// Runs it tells of the last operation. A missing right to one grant is the error of the
// calls that need that grant, and not this one.
func (c *Coordinator) StoreError() error {
	if o := c.worst(); o != nil {
		return o.err
	}
	return nil
}

// Stats returns what has been counted since the coordinator was made.
func (c *Coordinator) Stats() Stats { return c.stats() }
