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

// The scale of a run. With WeChat's five minutes of overlap and an hour between
// refreshes it would last for days, so both are shortened by about the same factor. The
// lock, the pings and the back-off are those of production.
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

// testbed is everything of one run: servers, links, the simulated WeChat, the fleet and
// the record of what happened.
type testbed struct {
	dir         string
	binary      string
	processes   *processTable
	network     *network
	servers     *servers
	wechat      *wechattest.Server
	api         string
	fleet       []*process
	callers     []*caller
	recorder    *recorder
	reportDelay time.Duration
	began       time.Time
	onFault     func(what string)

	probes struct { // published to check whether notifications arrive
		master      *server
		first, last uint64
	}

	ctx  context.Context // ends with the run
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

// commitOf returns the commit that is built, "" if module is not a git checkout.
func commitOf(module string) string {
	said, _ := exec.Command("git", "-C", module, "describe", "--always", "--dirty").Output()
	return strings.TrimSpace(string(said))
}

// setup describes a testbed.
type setup struct {
	dir         string
	binary      string // zhongkong
	build       string // its commit
	worker      string // this program, or a mutant of it
	topology    string
	opts        options
	refresher   int // number of serve with the secret
	readers     int // number of serve without it
	workers     int // number of readers that link the coordinator
	linked      int // number of refreshers that link it
	reportDelay time.Duration
	callers     bool

	minInterval time.Duration     // zero: the constant
	onFault     func(what string) // called with each fault; may be nil
}

func newTestbed(s setup) (tb *testbed, err error) {
	silenceRedis(slog.New(slog.DiscardHandler))
	f := newProcessTable()
	tb = &testbed{
		dir: s.dir, binary: s.binary, processes: f, network: newNetwork(f), recorder: &recorder{}, reportDelay: s.reportDelay, began: time.Now(),
		stop: func() {}, onFault: s.onFault,
	}
	defer func() {
		if err != nil {
			tb.close()
		}
	}()
	if tb.servers, err = newServers(tb.network, s.topology, s.dir, s.opts); err != nil {
		return tb, err
	}
	if err := tb.issuer(); err != nil {
		return tb, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	tb.ctx = ctx
	issuer := tb.stop
	tb.stop = func() { cancel(); issuer() }
	tb.wg.Go(func() { tb.sample(ctx) }) // ends with ctx
	config := filepath.Join(s.dir, "zhongkong.yaml")
	if err := writeConfig(config, cmp.Or(s.minInterval, minInterval)); err != nil {
		return tb, err
	}
	for i := range s.refresher {
		tb.add(s, fmt.Sprintf("serve%d", i+1), true, s.binary, "serve")
	}
	for i := range s.readers {
		tb.add(s, fmt.Sprintf("reader%d", i+1), false, s.binary, "serve")
	}
	for i := range s.linked {
		tb.add(s, fmt.Sprintf("linked%d", i+1), true, s.worker, "worker")
	}
	for i := range s.workers {
		tb.add(s, fmt.Sprintf("worker%d", i+1), false, s.worker, "worker")
	}
	for _, p := range tb.fleet {
		if err := p.start(); err != nil {
			return tb, err
		}
	}
	for _, p := range tb.fleet {
		if p.args[0] != "serve" || !s.callers {
			continue
		}
		c := tb.newCaller(p)
		tb.callers = append(tb.callers, c)
		tb.wg.Go(func() { c.poll(ctx) }) // each ends with ctx
		tb.wg.Go(func() { tb.newCaller(p).hold(ctx) })
		tb.wg.Go(func() { tb.newCaller(p).hold(ctx) })
	}
	return tb, eventually(20*time.Second, "a first token in the store", func() bool { return tb.stored() != 0 })
}

// writeConfig writes the configuration of a server.
func writeConfig(file string, minInterval time.Duration) error {
	text := fmt.Sprintf("budget: {per_day: 1000000, reserve: 1, min_interval: %s}\n", minInterval)
	return os.WriteFile(file, []byte(text), 0o600)
}

// issuer starts the simulated WeChat on a loopback port.
func (tb *testbed) issuer() error {
	knobs := wechattest.DefaultKnobs()
	knobs.TokenTTL, knobs.Grace, knobs.GraceGenerations = tokenLife, grace, wechattest.AllGenerations
	knobs.Latency, knobs.LatencyJitter = 20*time.Millisecond, 30*time.Millisecond
	knobs.DailyToken, knobs.DailyOther = 10_000_000, 100_000_000
	var err error
	if tb.wechat, err = wechattest.Open(wechattest.Config{Knobs: &knobs}); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: tb.wechat, ReadHeaderTimeout: 10 * time.Second}
	tb.wg.Go(func() { _ = server.Serve(l) }) // ends with the listener
	tb.stop = func() { tb.wechat.Close(); _ = server.Close() }
	tb.api = "http://" + l.Addr().String()
	return nil
}

func (tb *testbed) add(s setup, name string, refresher bool, binary, command string) {
	role := coordinator.Reader
	if refresher {
		role = coordinator.Refresher
	}
	env := map[string]string{
		"ZHONGKONG_REDIS": tb.servers.url(role), "ZHONGKONG_PREFIX": prefix, "ZHONGKONG_APPID": account,
		"ZHONGKONG_API_BASE": tb.api, "ZHONGKONG_REFRESH_EVERY": refreshEvery.String(), "ZHONGKONG_LOG_LEVEL": "debug",
		"ZHONGKONG_LISTEN": "127.0.0.1:0", "ZHONGKONG_USERS": "soak:" + callerPassword, "SOAK_REPORT_DELAY": tb.reportDelay.String(),
		"GOMAXPROCS": "2",
	}
	if command == "serve" {
		env["ZHONGKONG_CONFIG"] = filepath.Join(s.dir, "zhongkong.yaml")
	}
	if refresher {
		env["ZHONGKONG_SECRET"] = wechattest.DefaultSecret
	}
	if s.opts.tls {
		env["SSL_CERT_FILE"] = tb.servers.ca
	}
	if s.topology != single {
		env["SOAK_REPLICAS"] = "1"
	}
	p := &process{name: name, binary: binary, args: []string{command}, env: env, onLine: tb.recorder.line, refresh: refresher}
	tb.processes.add(name, p.pid)
	tb.fleet = append(tb.fleet, p)
}

// stored returns the generation in the store, 0 if there is none, if it is not credible
// or if there is no master.
func (tb *testbed) stored() uint64 {
	m := tb.servers.master()
	if m == nil {
		return 0
	}
	answer, err := m.do("hget", tb.servers.key, "generation")
	text, _ := answer.(string)
	if err != nil {
		return 0
	}
	var gen uint64
	_, _ = fmt.Sscan(text, &gen)
	return credible(gen)
}

// sample records the generation in the store continuously.
func (tb *testbed) sample(ctx context.Context) {
	var m *server
	var looked time.Time
	for sleep(ctx, 25*time.Millisecond) {
		if m == nil || tb.servers.kind != single && time.Since(looked) > 300*time.Millisecond {
			m, looked = tb.servers.master(), time.Now()
		}
		if m == nil {
			continue
		}
		began := time.Now()
		answer, err := m.do("hget", tb.servers.key, "generation")
		if err != nil {
			m = nil
			continue
		}
		s := sample{at: began.Round(0)}
		if text, ok := answer.(string); ok {
			_, _ = fmt.Sscan(text, &s.gen)
			s.gen = credible(s.gen)
		}
		tb.recorder.sampled(s)
	}
}

// value runs a command on the account's master; nil if there is none.
func (tb *testbed) value(args ...any) any {
	m := tb.servers.master()
	if m == nil {
		return nil
	}
	answer, _ := m.do(args...)
	return answer
}

// keyOf returns a key of the account.
func keyOf(what string) string { return prefix + ":{" + account + "}:" + what }

// calls returns the fleet's calls to the source, without those of the outsider.
func (tb *testbed) calls() []wechattest.Call {
	return slices.DeleteFunc(tb.wechat.Calls(), func(c wechattest.Call) bool {
		return c.UserAgent == "rogue" || c.Path != "/cgi-bin/token"
	})
}

// holder returns the process that holds the lock, nil if none does.
func (tb *testbed) holder() *process {
	value, _ := tb.value("get", keyOf("lock")).(string)
	for _, p := range tb.fleet {
		if value != "" && p.holds(value) {
			return p
		}
	}
	return nil
}

func (tb *testbed) close() {
	for _, p := range tb.fleet {
		p.kill(syscall.SIGKILL)
	}
	tb.stop()
	if tb.servers != nil {
		tb.servers.kill()
	}
	tb.wg.Wait()
}

// logs writes the output of every process to a file in a directory.
func (tb *testbed) logs(dir string) {
	_ = os.MkdirAll(dir, 0o700)
	for _, p := range tb.fleet {
		_ = os.WriteFile(filepath.Join(dir, p.name+".log"), []byte(p.output()), 0o600)
	}
	for _, s := range tb.servers.all() {
		_ = os.WriteFile(filepath.Join(dir, s.Name+".log"), s.Output(), 0o600)
	}
}

// silent logs at level debug what go-redis prints about broken connections.
type silent struct{ log *slog.Logger }

func (s silent) Printf(ctx context.Context, format string, args ...any) {
	s.log.DebugContext(ctx, "go-redis: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func silenceRedis(log *slog.Logger) { redis.SetLogger(silent{log}) }
