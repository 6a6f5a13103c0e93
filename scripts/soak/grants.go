package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redistest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// The soak of grants: several `zhongkong serve` refresh many accounts, each of which
// lives on a refresh token, at an issuer that uses tokens up and takes a second
// presentation for theft. Everything is real but the issuer: processes are killed and
// paused, answers and locks are lost, Redis is killed and fails over. What the issuer saw
// is compared with what the design promises.

// The kinds of issuer.
const (
	kindFree   = "free"   // a token is never used up
	kindWindow = "window" // a used-up token is answered again for a while, with siblings
	kindNever  = "never"  // a used-up token kills the family
)

var grantKinds = []string{kindFree, kindWindow, kindNever}

const (
	// grantWindow is how long the issuer of the kind window answers a used-up token.
	grantWindow = 2 * time.Minute

	// grantLife is the life of an access token: so short that a grant in doubt is probed,
	// and found dead, within the run.
	grantLife = 4 * time.Minute

	// grantLease is how long a presentation without an answer holds up the others: the
	// lock's life, the wait for the answer and the time to store it.
	grantLease = 3*time.Second + 40*time.Second + 15*time.Second

	grantProcesses = 3
	grantClient    = "soak"
	grantSecret    = "a-client-secret-of-the-simulator"
)

// grantBed is a fleet with its surroundings.
type grantBed struct {
	dir, kind string
	accounts  []string
	issuer    *oauthtest.Server
	redis     []*redistest.Server // the first is the master at the start
	replicas  *redistest.Replicated
	url       string
	store     *redisstore.Store
	keys      *seal.Keyring
	fleet     []*process
	stop      func()
	wiped     atomic.Int32 // how often Redis has lost everything
	killing   sync.Mutex   // held while a server is dead

	mu       sync.Mutex
	families map[string][]string // guarded by mu: of each account, in the order of the consents
	lost     []lostAnswer        // guarded by mu: when an answer cannot have been kept
}

// lostAnswer is a time in which answers may have got lost: the holder of a presentation
// was killed, or the issuer was told to lose it.
type lostAnswer struct{ from, to time.Time }

func newGrantBed(dir, binary, kind, topology string, accounts int) (b *grantBed, err error) {
	silenceRedis(slog.New(slog.DiscardHandler))
	b = &grantBed{dir: dir, kind: kind, families: map[string][]string{}, stop: func() {}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	for i := range accounts {
		b.accounts = append(b.accounts, fmt.Sprintf("grant%02d", i))
	}
	if err := b.startRedis(topology); err != nil {
		return b, err
	}
	keyFile := filepath.Join(dir, "seal.keys")
	if err := os.WriteFile(keyFile, []byte(seal.NewLine(time.Now())+"\n"), 0o600); err != nil {
		return b, err
	}
	if b.keys, err = seal.Load(keyFile, nil); err != nil {
		return b, err
	}
	replicas := 0
	if b.replicas != nil {
		replicas = 1
	}
	if b.store, err = redisstore.Open(b.url, redisstore.Options{Sealer: b.keys, Replicas: replicas}); err != nil {
		return b, err
	}
	issuer := b.startIssuer()
	if err := b.startFleet(binary, keyFile, issuer); err != nil {
		return b, err
	}
	for _, account := range b.accounts {
		if err := b.consent(account); err != nil {
			return b, err
		}
	}
	return b, nil
}

// startRedis starts servers with the settings that the documentation asks for.
func (b *grantBed) startRedis(topology string) error {
	l := redistest.Launcher{Dir: b.dir, Args: []string{"--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"}}
	if topology == single {
		s, err := l.Single()
		if err != nil {
			return err
		}
		b.redis, b.url = []*redistest.Server{s}, s.URL()
		return nil
	}
	r, err := l.Replicated(2, 3)
	if err != nil {
		return err
	}
	b.replicas, b.redis, b.url = r, r.Servers, r.URL()
	return nil
}

func (b *grantBed) startIssuer() (base string) {
	b.issuer = oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: grantClient, Secret: grantSecret}}})
	b.issuer.Tune(func(k *oauthtest.Knobs) {
		k.Lifetime = oauthtest.Duration(grantLife)
		k.Latency = oauthtest.Duration(20 * time.Millisecond)
		switch b.kind {
		case kindFree:
			k.Refresh.Rotation = "fixed"
		case kindWindow:
			k.Refresh.Replay, k.Refresh.ReplayBrings, k.Refresh.Reuse = grantWindow.String(), "sibling", "kills"
		case kindNever:
			k.Refresh.Reuse = "kills"
		}
	})
	s := httptest.NewServer(b.issuer)
	b.stop = s.Close
	return s.URL
}

// startFleet writes the configuration and starts the processes.
func (b *grantBed) startFleet(binary, keyFile, issuer string) error {
	replay := b.kind
	if b.kind == kindWindow {
		replay = grantWindow.String()
	}
	var config strings.Builder
	fmt.Fprintf(&config, "redis: %s\nseal_key_file: %s\nrefresh_every: 2s\nlog_level: debug\n", b.url, keyFile)
	fmt.Fprintf(&config, "grants: {spool: %s, copy: %s}\n", filepath.Join(b.dir, "spool"), filepath.Join(b.dir, "copy"))
	hash, err := passwordHash(binary)
	if err != nil {
		return err
	}
	fmt.Fprintf(&config, "users: [{name: %s, password: %q, accounts: [\"*\"], grant: true}]\naccounts:\n", grantUser, hash)
	for _, account := range b.accounts {
		fmt.Fprintf(&config, "  - {name: %s, source: oauth2, grant: refresh_token, replay: %s, token_url: %s/oauth2/token, "+
			"client_id: %s, client_secret: %s, refresh_every: 2s, limits: {per_day: 1000000, reserve: 1, min_interval: 1s}}\n",
			account, replay, issuer, grantClient, grantSecret)
	}
	file := filepath.Join(b.dir, "zhongkong.yaml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		return err
	}
	for i := range grantProcesses {
		p := &process{
			name: fmt.Sprintf("serve%d", i+1), binary: binary, args: []string{"serve", "--listen", "127.0.0.1:0"},
			env: map[string]string{"ZHONGKONG_CONFIG": file, "HOME": b.dir},
		}
		b.fleet = append(b.fleet, p)
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// passwordHash has the product hash the caller's password.
func passwordHash(binary string) (string, error) {
	cmd := exec.Command(binary, "passwd")
	cmd.Stdin = strings.NewReader(grantPassword)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("zhongkong passwd: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// The caller of the processes.
const grantUser, grantPassword = "soak", "a-password-of-the-soak"

// consent has the issuer grant a new refresh token and puts it in as a person would,
// through whichever process takes it.
func (b *grantBed) consent(account string) error {
	family, token := b.issuer.Consent(grantClient, "")
	b.mu.Lock()
	b.families[account] = append(b.families[account], family)
	b.mu.Unlock()
	body, err := json.Marshal(map[string]string{"refresh_token": token})
	if err != nil {
		return err
	}
	var last error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		for _, p := range b.fleet {
			if last = b.put(p, account, body); last == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("no process took a new grant of %s: %w", account, last)
}

func (b *grantBed) put(p *process, account string, body []byte) error {
	base := p.address()
	if base == "" {
		return fmt.Errorf("%s has not said where it listens:\n%s", p.name, p.output())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, base+"/v1/grants/"+url.PathEscape(account), strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.SetBasicAuth(grantUser, grantPassword)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", p.name, resp.Status)
	}
	return nil
}

// loses notes that answers to presentations may get lost now.
func (b *grantBed) loses(from, to time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = append(b.lost, lostAnswer{from, to})
}

// states returns what Redis has of all accounts.
func (b *grantBed) states(ctx context.Context) ([]coordinator.State, error) {
	return b.store.Load(ctx, b.accounts...)
}

func (b *grantBed) close() {
	var all sync.WaitGroup
	for _, p := range b.fleet {
		all.Go(func() { p.signal(sigCont); p.kill(sigKill) })
	}
	all.Wait()
	if b.store != nil {
		_ = b.store.Close()
	}
	if b.replicas != nil {
		b.replicas.Kill()
	} else {
		for _, s := range b.redis {
			s.Kill()
		}
	}
	b.stop()
}

// grants is the command: it runs one kind after the other.
func (f flags) grants() error {
	broken := false
	for _, kind := range grantKinds {
		if f.only != "" && f.only != kind {
			continue
		}
		for _, topology := range f.topologies() {
			if topology == cluster {
				continue // the same scripts as of a single server: nothing is replicated otherwise
			}
			s, remove, err := f.stage()
			if err != nil {
				return err
			}
			out, err := f.grantRun(s, kind, topology)
			remove()
			if err != nil {
				return err
			}
			fmt.Println(out)
			broken = broken || len(out.Violations) > 0
			if err := f.save(fmt.Sprintf("grants-%s-%s-%d", kind, topology, f.seed), out); err != nil {
				return err
			}
		}
	}
	if broken {
		return fmt.Errorf("%w (replay: grants -seed %d)", errBroken, f.seed)
	}
	return nil
}

// grantRun injects the faults, lets the fleet come to rest, and judges.
func (f flags) grantRun(s setup, kind, topology string) (*grantOutcome, error) {
	b, err := newGrantBed(s.dir, s.binary, kind, topology, 24)
	if err != nil {
		return nil, err
	}
	defer b.close()
	out := &grantOutcome{Kind: kind, Topology: topology, Seed: f.seed, Build: s.build, Injected: map[string]int{}, began: time.Now()}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := newGrantWatch(b, out)
	var watching sync.WaitGroup
	watching.Go(func() { w.run(ctx) }) // ends with ctx
	r := rand.New(rand.NewPCG(f.seed, uint64(len(kind))))
	b.inject(r, f.faults, out, f.trace)
	w.rest()
	cancel()
	watching.Wait()
	w.judge()
	if len(out.Violations) > 0 && f.keep != "" {
		b.keepLogs(f.keep)
	}
	out.Took = time.Since(out.began).Seconds()
	return out, nil
}

func (b *grantBed) keepLogs(dir string) {
	for _, p := range b.fleet {
		_ = os.WriteFile(filepath.Join(dir, p.name+".log"), []byte(p.output()), 0o600)
	}
}
