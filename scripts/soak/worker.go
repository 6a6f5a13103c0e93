package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat"
	"github.com/zhongkong/zhongkong/redisstore"
)

// report is a line of a worker's output, in JSON. Tokens are given as their SHA-256.
type report struct {
	Kind  string `json:"k"` // seen, watched, call, connected, probed
	Op    string `json:"op,omitempty"`
	From  int64  `json:"t0"` // Unix nanoseconds, before the call
	To    int64  `json:"t1"` // after it
	Gen   uint64 `json:"g,omitempty"`
	Hash  string `json:"h,omitempty"`
	Stale bool   `json:"stale,omitempty"`
	Up    bool   `json:"up,omitempty"`
	Err   string `json:"err,omitempty"`
	Wrong bool   `json:"wrong,omitempty"` // an unexpected error
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// worker is a service that links the coordinator. It uses tokens as services do, and
// reports which ones it gets.
type worker struct {
	coordinator *coordinator.Coordinator
	account     *coordinator.Account
	prober      wechat.Prober
	reportDelay time.Duration // from the first rejection of a token until it is reported

	mu  sync.Mutex
	out *json.Encoder // guarded by mu
}

// runWorker runs the program in the role of a service.
func runWorker() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	env := os.Getenv
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	silenceRedis(log)
	replicas := 0
	if env("SOAK_REPLICAS") != "" {
		replicas = 1
	}
	store, err := redisstore.Open(env("ZHONGKONG_REDIS"), redisstore.Options{
		Prefix: env("ZHONGKONG_PREFIX"), Logger: log, Replicas: replicas,
	})
	if err != nil {
		return err
	}
	defer store.Close()
	w := &worker{out: json.NewEncoder(os.Stdout), prober: wechat.Prober{BaseURL: env("ZHONGKONG_API_BASE")}}
	if w.reportDelay, err = time.ParseDuration(env("SOAK_REPORT_DELAY")); err != nil {
		return err
	}
	every, err := time.ParseDuration(env("ZHONGKONG_REFRESH_EVERY"))
	if err != nil {
		return err
	}
	account := coordinator.AccountConfig{Name: env("ZHONGKONG_APPID")}
	if secret := env("ZHONGKONG_SECRET"); secret != "" {
		account.Source, err = wechat.Config{AppID: account.Name, Secret: secret, BaseURL: env("ZHONGKONG_API_BASE")}.Source()
		if err != nil {
			return err
		}
	}
	w.coordinator, err = coordinator.New(coordinator.Config{
		Store: store, Accounts: []coordinator.AccountConfig{account}, RefreshEvery: every, Logger: log,
		Limits:  coordinator.Limits{PerDay: 1_000_000, Reserve: 1, MinInterval: time.Second},
		Observe: w.observe,
	})
	if err != nil {
		return err
	}
	w.account, _ = w.coordinator.Account(account.Name)
	var all sync.WaitGroup
	all.Go(func() { _ = w.coordinator.Run(ctx) }) // each ends with ctx
	all.Go(func() { w.look(ctx) })
	all.Go(func() { w.watch(ctx) })
	all.Go(func() { w.wait(ctx) })
	all.Go(func() { w.use(ctx) })
	all.Wait()
	return nil
}

func (w *worker) tell(r report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.out.Encode(r); errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.EPIPE) {
		os.Exit(0) // the soak has ended
	}
}

func (w *worker) observe(o coordinator.Observation) {
	switch o.Kind {
	case coordinator.Notified:
		if o.Event.Limit == probeLimit {
			at := time.Now().UnixNano()
			w.tell(report{Kind: "probed", From: at, To: at, Gen: uint64(o.Event.Fence)})
		}
	case coordinator.Connected, coordinator.Disconnected:
		at := time.Now().UnixNano()
		w.tell(report{Kind: "connected", From: at, To: at, Up: o.Kind == coordinator.Connected})
	}
}

// probeLimit marks an event that this program publishes to check whether notifications
// arrive. It has no effect on a process.
const probeLimit = "soak-probe"

// look reads the token continuously, as a busy service does.
func (w *worker) look(ctx context.Context) {
	for sleep(ctx, 40*time.Millisecond) {
		began := time.Now().UnixNano()
		s, ok := w.account.Peek()
		if !ok {
			continue
		}
		w.tell(report{
			Kind: "seen", From: began, To: time.Now().UnixNano(), Gen: uint64(s.Generation),
			Hash: hashOf(s.Token.Reveal()), Stale: s.Stale,
		})
	}
}

func (w *worker) watch(ctx context.Context) {
	for r := range w.account.Watch(ctx) {
		at := time.Now().UnixNano()
		w.tell(report{Kind: "watched", From: at, To: at, Gen: uint64(r.Generation), Hash: hashOf(r.Token.Reveal())})
	}
}

// callWait limits a worker's calls.
const callWait = 4 * time.Second

// wait waits for newer tokens.
func (w *worker) wait(ctx context.Context) {
	var after coordinator.Fence
	for ctx.Err() == nil {
		w.call(ctx, "Next", func(ctx context.Context) error {
			s, err := w.account.Next(ctx, after)
			if err == nil {
				after = s.Generation
			}
			return err
		})
		sleep(ctx, 20*time.Millisecond)
	}
}

// use makes business calls and invalidates rejected tokens.
func (w *worker) use(ctx context.Context) {
	var rejected coordinator.Token
	var since time.Time
	for sleep(ctx, 300*time.Millisecond) {
		s, ok := w.account.Peek()
		if !ok {
			w.call(ctx, "Token", func(ctx context.Context) error {
				_, err := w.account.Token(ctx)
				return err
			})
			continue
		}
		probe, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := w.prober.Probe(probe, s.Token)
		cancel()
		if !wechat.Rejected(err) {
			continue
		}
		if !rejected.Equal(s.Token) {
			rejected, since = s.Token, time.Now()
		}
		if time.Since(since) >= w.reportDelay {
			w.call(ctx, "Invalidate", func(ctx context.Context) error {
				_, err := w.account.Invalidate(ctx, s.Token)
				return err
			})
		}
	}
}

// call makes a call that has to end in time and reports how it ended.
func (w *worker) call(ctx context.Context, op string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	r := report{Kind: "call", Op: op, From: time.Now().UnixNano()}
	if err := do(ctx); err != nil {
		r.Err, r.Wrong = err.Error(), !isExpected(err)
	}
	r.To = time.Now().UnixNano()
	w.tell(r)
}

// isExpected reports whether the coordinator documents an error.
func isExpected(err error) bool {
	var fetch *coordinator.FetchError
	var throttled *coordinator.ThrottledError
	var refused *coordinator.RefusedError
	var quota *coordinator.QuotaError
	return errors.As(err, &fetch) || errors.As(err, &throttled) || errors.As(err, &refused) || errors.As(err, &quota) ||
		errors.Is(err, coordinator.ErrNoToken) || errors.Is(err, coordinator.ErrUnreachable) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "soak:", err)
	os.Exit(1)
}
