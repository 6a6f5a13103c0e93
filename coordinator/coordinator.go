package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// Coordinator keeps the tokens of many accounts, together with every other
// process that has a coordinator on the same store. New makes one.
type Coordinator struct {
	cfg      Config // with defaults
	log      *slog.Logger
	store    Store
	counters counters
	clock
	storeClock storeClock
	slots      chan struct{} // holds one for each call to a source under way
	sub        Subscription  // Run keeps it alive; knows all accounts
	schedule   *scheduler
	crowd      crowd
	borrowed   borrowed // the subscription of waiters while nothing Runs

	run       sync.Mutex   // held by Run until it returns
	running   atomic.Bool  // Run keeps the accounts right: memory may be trusted
	connected atomic.Bool  // notifications flow
	count     atomic.Int64 // accounts there are
	trouble

	flights flights // the goroutines that refresh; Run and Drain wait for them

	membership sync.Mutex // held while accounts and what sub follows change together

	mu       sync.RWMutex // guards what follows
	accounts map[string]*Account
	stopping context.Context // of the present Run; Background while nothing Runs
}

// New returns a coordinator. It starts nothing and does not touch the store.
func New(cfg Config) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("coordinator: %w", err)
	}
	cfg = cfg.withDefaults()
	c := &Coordinator{
		cfg:      cfg,
		log:      cfg.Logger,
		store:    cfg.Store,
		slots:    make(chan struct{}, cfg.MaxFetches),
		accounts: make(map[string]*Account, len(cfg.Accounts)),
		stopping: context.Background(),
	}
	c.clock.start()
	c.schedule = newScheduler(c)
	c.sub = c.store.Subscribe((*follower)(c))
	for _, a := range cfg.Accounts {
		if _, err := c.Add(a); err != nil {
			return nil, err
		}
	}
	c.cfg.Accounts = nil // each has its own part of it
	return c, nil
}

// ErrRunning is returned by Run while another Run of the same coordinator has
// not returned.
var ErrRunning = errors.New("coordinator: already running")

// Run keeps every account right until ctx ends: it follows the store's
// notifications, refreshes what is due, and puts back what the store lost. It
// blocks; every goroutine it started has ended when it returns. A call to a
// source that is under way when ctx ends is finished and its token stored
// first, which takes up to FetchTimeout and, if the store is away, ten seconds
// more. The error is nil unless the coordinator was running already.
func (c *Coordinator) Run(ctx context.Context) error {
	if !c.run.TryLock() {
		return ErrRunning
	}
	defer c.run.Unlock()
	c.lost.Store(nil)
	c.running.Store(true)
	c.mu.Lock()
	c.stopping = ctx
	c.mu.Unlock()

	for _, a := range c.Accounts() {
		a.follow()
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.sub.Run(ctx) })      // ends with ctx
	wg.Go(func() { c.schedule.run(ctx) }) // ends with ctx
	wg.Go(func() { c.remind(ctx) })       // ends with ctx
	wg.Wait()

	c.running.Store(false)
	c.connected.Store(false)
	for _, a := range c.Accounts() {
		a.unfollow()
	}
	<-c.flights.none()
	c.mu.Lock()
	c.stopping = context.Background()
	c.mu.Unlock()
	for _, a := range c.Accounts() {
		a.rouse()
	}
	return nil
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

// Drain waits until no call to a source is under way in this process and its
// token is stored, or ctx ends. A process that uses accounts without Run calls
// it before it exits: Token and Refresh return when their context ends, the
// call they caused goes on.
func (c *Coordinator) Drain(ctx context.Context) error {
	select {
	case <-c.flights.none():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Add adds an account while the coordinator runs or not.
func (c *Coordinator) Add(cfg AccountConfig) (*Account, error) {
	if err := cfg.validate(c.cfg); err != nil {
		return nil, fmt.Errorf("coordinator: account %q: %w", cfg.Name, err)
	}
	a := newAccount(c, cfg)
	c.membership.Lock()
	defer c.membership.Unlock()
	c.mu.Lock()
	if _, ok := c.accounts[cfg.Name]; ok {
		c.mu.Unlock()
		return nil, fmt.Errorf("coordinator: account %q is there already", cfg.Name)
	}
	c.accounts[cfg.Name] = a
	c.count.Add(1)
	c.mu.Unlock()
	c.sub.Add(a.Role(), a.name)
	a.follow()
	return a, nil
}

// Remove removes an account. Whoever waits for its token gets
// ErrUnknownAccount; what is in the store stays there.
func (c *Coordinator) Remove(name string) error {
	c.membership.Lock()
	defer c.membership.Unlock()
	c.mu.Lock()
	a, ok := c.accounts[name]
	delete(c.accounts, name)
	c.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: %q", ErrUnknownAccount, name)
	}
	c.count.Add(-1)
	c.sub.Remove(name)
	c.schedule.remove(a)
	a.remove()
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

// stale reports whether what is held may have been replaced unseen.
func (c *Coordinator) stale() bool {
	if c.running.Load() {
		return !c.connected.Load() || c.down.Load().lasts()
	}
	return c.down.Load() != nil
}

// life is the context under which refreshes may begin.
func (c *Coordinator) life() context.Context {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.stopping
}
