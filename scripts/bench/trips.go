package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// trips measures how many round trips to Redis pass one after the other until a command
// has ended: how much longer it takes when Redis is further away, in round trips.
func trips(e *env, r *record) error {
	versions, err := e.inTurn(r)
	if err != nil {
		return err
	}
	server, kill, err := e.redis()
	if err != nil {
		return err
	}
	defer kill()
	source, err := startIssuer(time.Millisecond)
	if err != nil {
		return err
	}
	defer source.close()
	paths := []struct {
		name  string
		ready bool // there is a token, and the server knows the scripts
		run   func(v version, redisURL string) error
	}{
		{"show, cold", false, func(v version, url string) error { return v.run(url, source.url, "show") }},
		{"show, warm", true, func(v version, url string) error { return v.run(url, source.url, "show") }},
		{"refresh", true, func(v version, url string) error { return v.run(url, source.url, "refresh") }},
		{"serve, cold", false, func(v version, url string) error { return v.serveUntilReady(url, source.url) }},
	}
	far := time.Duration(e.or(100, 20)) * time.Millisecond
	for _, p := range paths {
		for _, v := range versions {
			at := func(rtt time.Duration) (took time.Duration, k *link, err error) {
				if err := v.arrange(server, source.url, p.ready); err != nil {
					return 0, nil, err
				}
				if k, err = startLink(server.Addr(), rtt); err != nil {
					return 0, nil, err
				}
				defer k.stop()
				began := time.Now()
				err = p.run(v, "redis://"+k.addr)
				return time.Since(began), k, err
			}
			var near time.Duration
			for range 3 { // the first one also reads the program from the disk
				took, _, err := at(0)
				if err != nil {
					return fmt.Errorf("%s: %w", v.contender(p.name), err)
				}
				if near == 0 || took < near {
					near = took
				}
			}
			took, k, err := at(far)
			if err != nil {
				return fmt.Errorf("%s: %w", v.contender(p.name), err)
			}
			r.add(v.contender(p.name), of("trips", float64(took-near)/float64(far)), of("turns", float64(k.turns)),
				of("connections", float64(len(k.conns)/2)), ms("near-ms", near))
		}
	}
	return nil
}

// arrange empties the server, scripts included, and stores a token if there is to be
// one, as the version does that.
func (v version) arrange(server *redistest.Server, source string, ready bool) error {
	ctx := context.Background()
	_, flushed := server.Do(ctx, "FLUSHALL")
	_, scripts := server.Do(ctx, "SCRIPT", "FLUSH")
	if err := errors.Join(flushed, scripts); err != nil || !ready {
		return err
	}
	return v.run(server.URL(), source, "show")
}

// cli returns a command of the version for the account.
func (v version) cli(redisURL, source string, args ...string) *exec.Cmd {
	cmd := exec.Command(v.zhongkong, append([]string{"--redis", redisURL, "--appid", appID, "--api-base", source, "--log-level", "error"}, args...)...)
	cmd.Env = append(os.Environ(), "ZHONGKONG_SECRET=0123456789abcdef0123456789abcdef", "ZHONGKONG_USERS="+userName+":"+userPassword)
	return cmd
}

func (v version) run(redisURL, source string, args ...string) error {
	out, err := v.cli(redisURL, source, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, out)
	}
	return nil
}

// serveUntilReady runs the daemon until it is ready.
func (v version) serveUntilReady(redisURL, source string) error {
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	cmd := v.cli(redisURL, source, "serve", "--listen", addr)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	err = awaitReady("http://" + addr + "/readyz?all") // all have their tokens; the version before has no other readiness
	// Ended at once: draining is not measured.
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	return err
}

func awaitReady(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	last := errors.New("not ready")
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		resp, err := client.Get(url)
		if err != nil {
			last = err
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		last = errors.New(resp.Status)
	}
	return fmt.Errorf("%s: %w", url, last)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// link is an address in front of a server that makes it seem further away. Everything
// that a client sends is delayed by a round trip, and the first of it by another one, for
// the handshake of TCP.
type link struct {
	addr     string
	rtt      time.Duration
	listener net.Listener

	all   sync.WaitGroup // its goroutines
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
	turns int        // guarded by mu: dials, and writes of a client after the server has answered
}

func startLink(to string, rtt time.Duration) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{addr: l.Addr().String(), rtt: rtt, listener: l}
	k.all.Go(func() { k.accept(to) }) // joined by stop
	return k, nil
}

// stop ends all connections, and with them what writes to k.
func (k *link) stop() {
	_ = k.listener.Close()
	k.mu.Lock()
	for _, c := range k.conns {
		_ = c.Close()
	}
	k.mu.Unlock()
	k.all.Wait()
}

func (k *link) accept(to string) {
	for {
		client, err := k.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			_ = client.Close()
			continue
		}
		k.mu.Lock()
		k.conns = append(k.conns, client, server)
		k.turns++
		k.mu.Unlock()
		k.join(client, server)
	}
}

// join passes on what both say until one of them ends.
func (k *link) join(client, server net.Conn) {
	connected := time.Now().Add(k.rtt)
	answered := true // whether the next write of the client begins a turn; guarded by k.mu
	type piece struct {
		at   time.Time // when it is to be at the server
		text []byte
	}
	underWay := make(chan piece, 1024)
	k.all.Go(func() { // joined by stop
		defer close(underWay)
		for {
			text := make([]byte, 32<<10)
			n, err := client.Read(text)
			if err != nil {
				return
			}
			k.mu.Lock()
			if answered {
				k.turns++
				answered = false
			}
			k.mu.Unlock()
			at := time.Now()
			if at.Before(connected) {
				at = connected
			}
			underWay <- piece{at.Add(k.rtt), text[:n]}
		}
	})
	k.all.Go(func() { // joined by stop
		defer server.Close()
		for p := range underWay {
			time.Sleep(time.Until(p.at))
			if _, err := server.Write(p.text); err != nil {
				_ = client.Close()
			}
		}
	})
	k.all.Go(func() { // joined by stop
		defer client.Close()
		_, _ = io.Copy(writer(func(text []byte) (int, error) {
			k.mu.Lock()
			answered = true
			k.mu.Unlock()
			return client.Write(text)
		}), server)
	})
}

// writer makes a Writer of a function.
type writer func([]byte) (int, error)

func (w writer) Write(text []byte) (int, error) { return w(text) }
