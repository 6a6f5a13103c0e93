//go:build unix

package e2e_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// heldIssuer uses refresh tokens up, and holds its answers from a certain time on.
type heldIssuer struct {
	*oauthtest.Server
	hold     atomic.Bool
	issued   chan struct{} // closed when the first held answer is ready: the refresh token is used up
	released chan struct{}
	isIssued func()
	release  func() // lets all answers out
}

func newHeldIssuer(t *testing.T) (issuer *heldIssuer, url string) {
	t.Helper()
	h := &heldIssuer{
		Server: oauthtest.New(oauthtest.Config{Clients: []oauthtest.Client{{ID: "zhongkong", Secret: "the-secret-of-the-client"}}}),
		issued: make(chan struct{}), released: make(chan struct{}),
	}
	h.isIssued = sync.OnceFunc(func() { close(h.issued) })
	h.release = sync.OnceFunc(func() { close(h.released) })
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(h.release)
	return h, server.URL + "/oauth2/token"
}

func (h *heldIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	h.Server.ServeHTTP(answer, r)
	if h.hold.Load() {
		h.isIssued()
		<-h.released
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // fails if the client has gone
}

// grantFleet has an account that lives on a grant, whose issuer holds its next answers.
func grantFleet(t *testing.T) (*fleet, *heldIssuer) {
	t.Helper()
	issuer, url := newHeldIssuer(t)
	dir := t.TempDir()
	keys, config := filepath.Join(dir, "seal.keys"), filepath.Join(dir, "zk.yaml")
	writeFile(t, keys, seal.NewLine(time.Now())+"\n")
	writeFile(t, config, "seal_key_file: "+keys+"\naccounts:\n"+strings.Replace(oauthAccount("crm", url), "}", ", limits: {min_interval: 10ms}}", 1))
	f := newFleet(t).with("ZHONGKONG_CONFIG", config, "ZHONGKONG_APPID", "", "ZHONGKONG_SECRET", "", "ZHONGKONG_API_BASE", "", "DIR", dir)
	f.importGrant("crm", issuer.Server)
	issuer.hold.Store(true)
	return f, issuer
}

// keptTheSuccessor ends p and checks that the next refresh token is stored.
func (f *fleet) keptTheSuccessor(p *process, issuer *heldIssuer) {
	f.t.Helper()
	issuer.release()
	<-p.done
	if status := p.cmd.ProcessState; !status.Exited() {
		f.t.Errorf("the command was ended: %s", status)
	}
	if next := f.run("refresh", "crm"); next.code() != 0 {
		f.t.Errorf("the grant is lost: refresh = %d\n%s", next.code(), next.stderr.String())
	}
}

// takesHangups has the processes that the test starts take SIGHUP, also where the test itself
// was started by nohup: what is ignored stays so in a child, what has a handler does not.
func takesHangups(t *testing.T) {
	t.Helper()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hup) })
}

// A closed terminal sends SIGHUP, and the shell in it may send another one.
func TestACommandStoresARefreshTokenAlsoIfItsTerminalIsClosed(t *testing.T) {
	takesHangups(t)
	f, issuer := grantFleet(t)
	p := f.start("refresh", "--wait", "1m", "crm")
	<-issuer.issued
	p.signal(syscall.SIGHUP)
	f.eventually(10*time.Second, "refresh to say that it waits", func() bool { return p.ended() || strings.Contains(p.stderr.String(), "a second interrupt") })
	p.signal(syscall.SIGHUP)
	f.keptTheSuccessor(p, issuer)
}

func TestACommandStoresARefreshTokenAlsoIfNobodyReadsWhatItSays(t *testing.T) {
	f, issuer := grantFleet(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	cmd := exec.Command(f.binary, "--log-level", "info", "refresh", "crm")
	cmd.Stdout, cmd.Stderr = w, w
	p := f.launch(cmd)
	_ = w.Close()
	select {
	case <-issuer.issued: // before, it has said that it presents the refresh token
	case <-p.done:
	}
	f.keptTheSuccessor(p, issuer)
	if said := f.run("--log-level", "info", "refresh", "crm").stderr.String(); !strings.Contains(said, "presenting the refresh token") {
		t.Errorf("it has nothing to say before the issuer is asked:\n%s", said)
	}
}

func TestASecondInterruptEndsACommandAtOnceAlsoAfterAHangup(t *testing.T) {
	takesHangups(t)
	f, issuer := grantFleet(t)
	p := f.start("refresh", "--wait", "1m", "crm")
	<-issuer.issued
	p.signal(syscall.SIGHUP)
	f.eventually(10*time.Second, "the second SIGTERM to end it", func() bool {
		p.signal(syscall.SIGTERM)
		return p.ended()
	})
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("refresh ended with %s, want SIGTERM", p.cmd.ProcessState)
	}
}

func TestAHangupInterruptsACommandUnlessNohupHasStartedIt(t *testing.T) {
	takesHangups(t)
	for name, c := range map[string]struct {
		script string
		code   int
	}{
		"from a shell": {`exec "$0" "$@"`, 1},
		"by nohup":     {`trap '' HUP; exec "$0" "$@"`, 0}, // as nohup does
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			p := f.with("ZHONGKONG_SECRET", "").launch(exec.Command("/bin/sh", "-c", c.script, f.binary, "show", "--wait", "30s"))
			f.eventually(10*time.Second, "show to wait for a token", func() bool {
				channels, _ := f.redis.MustDo(t, "PUBSUB", "CHANNELS", f.env["ZHONGKONG_PREFIX"]+":*").([]any)
				return len(channels) > 0
			})
			p.signal(syscall.SIGHUP)
			if c.code == 0 {
				f.run("show")
			}
			<-p.done
			if p.code() != c.code || p.token() != f.lastIssued() {
				t.Errorf("show = %d, %q\n%s", p.code(), p.token(), p.stderr.String())
			}
		})
	}
}
