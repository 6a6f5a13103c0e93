package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/wechattest"
)

// The scale of a run. WeChat's five minutes of overlap and an hour between
// refreshes would make it last for days: both are shortened by about as much,
// the lock, the beats and the back-off are as in production.
const (
	account      = wechattest.DefaultAppID
	prefix       = "zksoak"
	refreshEvery = 3 * time.Second
	tokenLife    = 60 * time.Second
	grace        = 10 * time.Second
	lockLife     = 3 * time.Second
	minInterval  = time.Second
	fetchTimeout = 10 * time.Second // coordinator.Config's
)

// world is everything of one run: servers, links, the issuer, the fleet, and
// what happened.
type world struct {
	dir      string
	binary   string
	family   *family
	network  *network
	servers  *servers
	wechat   *wechattest.Server
	api      string
	fleet    []*process
	callers  []*caller
	ledger   *ledger
	patience time.Duration
	began    time.Time
	traced   func(what string)

	probes struct { // of whether notifications flow
		master      *server
		first, last uint64
	}

	life context.Context // of the world
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// buildProduct builds zhongkong from a module's directory.
func buildProduct(module, out string) error {
	cmd := exec.Command("go", "build", "-o", out, "./cmd/zhongkong")
	cmd.Dir = module
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, said)
	}
	return nil
}

// commitOf names what is built, "" if that is not a git checkout.
func commitOf(module string) string {
	said, _ := exec.Command("git", "-C", module, "describe", "--always", "--dirty").Output()
	return strings.TrimSpace(string(said))
}

// setup says what a world is made of.
type setup struct {
	dir       string
	binary    string // zhongkong
	build     string // which commit it is of
	worker    string // this program, or a mutant of it
	topology  string
	opts      options
	refresher int // serves with the secret
	readers   int // serves without
	workers   int // linked readers
	linked    int // linked refreshers
	patience  time.Duration
	callers   bool

	minInterval time.Duration     // zero: minInterval
	traced      func(what string) // is told of each fault; may be nil
}

func newWorld(s setup) (w *world, err error) {
	silenceRedis(slog.New(slog.DiscardHandler))
	f := newFamily()
	w = &world{
		dir: s.dir, binary: s.binary, family: f, network: newNetwork(f), ledger: &ledger{}, patience: s.patience, began: time.Now(),
		stop: func() {}, traced: s.traced,
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.servers, err = newServers(w.network, s.topology, s.dir, prefix, account, s.opts); err != nil {
		return w, err
	}
	if err := w.issuer(); err != nil {
		return w, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.life = ctx
	issuer := w.stop
	w.stop = func() { cancel(); issuer() }
	w.wg.Go(func() { w.sample(ctx) }) // ends with ctx
	config := filepath.Join(s.dir, "zhongkong.yaml")
	text := fmt.Sprintf("budget: {per_day: 1000000, reserve: 1, min_interval: %s}\n", cmp.Or(s.minInterval, minInterval))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return w, err
	}
	for i := range s.refresher {
		w.add(s, fmt.Sprintf("serve%d", i+1), true, s.binary, "serve")
	}
	for i := range s.readers {
		w.add(s, fmt.Sprintf("reader%d", i+1), false, s.binary, "serve")
	}
	for i := range s.linked {
		w.add(s, fmt.Sprintf("linked%d", i+1), true, s.worker, "worker")
	}
	for i := range s.workers {
		w.add(s, fmt.Sprintf("worker%d", i+1), false, s.worker, "worker")
	}
	for _, p := range w.fleet {
		if err := p.start(); err != nil {
			return w, err
		}
	}
	for _, p := range w.fleet {
		if p.args[0] != "serve" || !s.callers {
			continue
		}
		c := w.newCaller(p)
		w.callers = append(w.callers, c)
		w.wg.Go(func() { c.poll(ctx) }) // each ends with ctx
		w.wg.Go(func() { w.newCaller(p).hold(ctx) })
		w.wg.Go(func() { w.newCaller(p).hold(ctx) })
	}
	return w, eventually(20*time.Second, "a first token in the store", func() bool { return w.stored() != 0 })
}

// issuer starts the simulated WeChat on a port.
func (w *world) issuer() error {
	knobs := wechattest.DefaultKnobs()
	knobs.TokenTTL, knobs.Grace, knobs.GraceGenerations = tokenLife, grace, wechattest.AllGenerations
	knobs.Latency, knobs.LatencyJitter = 20*time.Millisecond, 30*time.Millisecond
	knobs.DailyToken, knobs.DailyOther = 10_000_000, 100_000_000
	var err error
	if w.wechat, err = wechattest.Open(wechattest.Config{Knobs: &knobs}); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: w.wechat, ReadHeaderTimeout: 10 * time.Second}
	w.wg.Go(func() { _ = server.Serve(l) }) // ends with the listener
	w.stop = func() { w.wechat.Close(); _ = server.Close() }
	w.api = "http://" + l.Addr().String()
	return nil
}

func (w *world) add(s setup, name string, refresher bool, binary, command string) {
	role := coordinator.Reader
	if refresher {
		role = coordinator.Refresher
	}
	env := map[string]string{
		"ZHONGKONG_REDIS": w.servers.url(role), "ZHONGKONG_PREFIX": prefix, "ZHONGKONG_APPID": account,
		"ZHONGKONG_API_BASE": w.api, "ZHONGKONG_REFRESH_EVERY": refreshEvery.String(), "ZHONGKONG_LOG_LEVEL": "debug",
		"ZHONGKONG_LISTEN": "127.0.0.1:0", "ZHONGKONG_USERS": "soak:" + callerPassword, "SOAK_PATIENCE": w.patience.String(),
		"GOMAXPROCS": "2",
	}
	if command == "serve" {
		env["ZHONGKONG_CONFIG"] = filepath.Join(s.dir, "zhongkong.yaml")
	}
	if refresher {
		env["ZHONGKONG_SECRET"] = wechattest.DefaultSecret
	}
	if s.opts.tls {
		env["SSL_CERT_FILE"] = w.servers.ca
	}
	if s.topology != single {
		env["SOAK_REPLICAS"] = "1"
	}
	p := &process{name: name, binary: binary, args: []string{command}, env: env, heard: w.ledger.heard, refresh: refresher}
	w.family.join(name, p.pid)
	w.fleet = append(w.fleet, p)
}

// stored is the generation in the store, 0 if there is none, or none of ours, or
// nobody to ask.
func (w *world) stored() uint64 {
	m := w.servers.master()
	if m == nil {
		return 0
	}
	answer, err := m.do("hget", w.servers.key, "generation")
	text, _ := answer.(string)
	if err != nil {
		return 0
	}
	var gen uint64
	_, _ = fmt.Sscan(text, &gen)
	return credible(gen)
}

// sample looks at the store all the time.
func (w *world) sample(ctx context.Context) {
	var m *server
	var looked time.Time
	for sleep(ctx, 25*time.Millisecond) {
		if m == nil || w.servers.kind != single && time.Since(looked) > 300*time.Millisecond {
			m, looked = w.servers.master(), time.Now()
		}
		if m == nil {
			continue
		}
		began := time.Now()
		answer, err := m.do("hget", w.servers.key, "generation")
		if err != nil {
			m = nil
			continue
		}
		s := sample{at: began.Round(0)}
		if text, ok := answer.(string); ok {
			_, _ = fmt.Sscan(text, &s.gen)
			s.gen = credible(s.gen)
		}
		w.ledger.sampled(s)
	}
}

// value reads a key of the account past everything.
func (w *world) value(args ...any) any {
	m := w.servers.master()
	if m == nil {
		return nil
	}
	answer, _ := m.do(args...)
	return answer
}

// keyOf is the name of a key of the account.
func keyOf(what string) string { return prefix + ":{" + account + "}:" + what }

// calls are the fleet's calls to the source, not an outsider's.
func (w *world) calls() []wechattest.Call {
	return slices.DeleteFunc(w.wechat.Calls(), func(c wechattest.Call) bool {
		return c.UserAgent == "rogue" || c.Path != "/cgi-bin/token"
	})
}

// holder is the process that holds the lock, nil if none does.
func (w *world) holder() *process {
	value, _ := w.value("get", keyOf("lock")).(string)
	for _, p := range w.fleet {
		if value != "" && p.holds(value) {
			return p
		}
	}
	return nil
}

func (w *world) close() {
	for _, p := range w.fleet {
		p.kill(syscall.SIGKILL)
	}
	w.stop()
	if w.servers != nil {
		w.servers.kill()
	}
	w.wg.Wait()
}

// logs writes what every process said to files in a directory.
func (w *world) logs(dir string) {
	_ = os.MkdirAll(dir, 0o700)
	for _, p := range w.fleet {
		_ = os.WriteFile(filepath.Join(dir, p.name+".log"), []byte(p.said()), 0o600)
	}
	for _, s := range w.servers.all() {
		_ = os.WriteFile(filepath.Join(dir, s.Name+".log"), s.Output(), 0o600)
	}
}

// silent takes what go-redis prints about the connections that faults break.
type silent struct{ log *slog.Logger }

func (s silent) Printf(ctx context.Context, format string, args ...any) {
	s.log.DebugContext(ctx, "go-redis: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func silenceRedis(log *slog.Logger) { redis.SetLogger(silent{log}) }
