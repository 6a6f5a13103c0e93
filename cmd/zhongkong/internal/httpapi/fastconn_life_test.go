package httpapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// inBubble serves an account that has a token, in a bubble of synctest, and calls f with
// what dials the server.
func inBubble(t *testing.T, e func(*testing.T) Exposure, f func(t *testing.T, server *Server, dial func() *client)) {
	synctest.Test(t, func(t *testing.T) {
		zk, err := coordinator.New(coordinator.Config{Store: memstore.New(), Accounts: []coordinator.AccountConfig{
			{Name: wxa, Source: &coordinatortest.Source{Name: "token-of-a"}}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = zk.Run(ctx) }) // ends below
		if account, _ := zk.Account(wxa); account != nil {
			if _, err := account.Token(ctx); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait() // until it is in memory
		server, err := NewServer(New(Config{Coordinator: zk, Callers: newCallers(t), Directory: noDirectory{}}), e(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		l := pipes(make(chan net.Conn))
		running.Go(func() { // ends with Shutdown
			if err := server.Serve(l); err != nil {
				t.Error(err)
			}
		})
		var opened []net.Conn
		f(t, server, func() *client {
			theirs, ours := net.Pipe()
			l <- theirs
			opened = append(opened, ours)
			return &client{ours, bufio.NewReader(ours)}
		})
		for _, c := range opened { // a server that says goodbye by TLS waits until that is read
			_ = c.Close()
		}
		_ = server.Shutdown(t.Context())
		cancel()
		running.Wait()
		synctest.Wait()
		if left := len(server.connections.list()); left > 0 {
			t.Errorf("%d connections are counted after the end", left)
		}
	})
}

func plaintext(*testing.T) Exposure { return Exposure{} }

// plainly asks for the token, and fails unless it is answered without net/http.
func (c *client) plainly(t *testing.T, server *Server) {
	t.Helper()
	if status, err := c.ask(admin, "/v1/tokens/"+wxa); status != 200 {
		t.Fatalf("%d %v", status, err)
	}
	_ = c.SetDeadline(time.Time{})
	synctest.Wait()
	for _, one := range server.connections.list() {
		if state, _ := one.phase(); !one.fast.Load() || !one.authenticated.Load() || state != idle {
			t.Errorf("after the answer: fast %v, authenticated %v, phase %v", one.fast.Load(), one.authenticated.Load(), state)
		}
	}
}

func TestFastConnectionsKeepTheDeadlines(t *testing.T) {
	inBubble(t, plaintext, func(t *testing.T, server *Server, dial func() *client) {
		c := dial()
		for range 200 { // longer than every deadline
			c.plainly(t, server)
			time.Sleep(7 * time.Second)
		}
		c.plainly(t, server)
		began := time.Now()
		_, _ = c.r.ReadByte()
		if d := time.Since(began); d < idleTimeout || d > idleTimeout+deadlineStep {
			t.Errorf("an idle one: after %v, want %v to %v", d, idleTimeout, idleTimeout+deadlineStep)
		}

		c = dial()
		c.plainly(t, server)
		time.Sleep(time.Minute)
		_, _ = io.WriteString(c, plainLines)
		began = time.Now()
		_, _ = io.Copy(io.Discard, c.r)
		if d := time.Since(began); d != readHeaderTimeout {
			t.Errorf("one that begins another request: after %v, want %v", d, readHeaderTimeout)
		}

		c = dial() // it does not read its answer
		began = time.Now()
		_ = c.send(admin, "/v1/tokens/"+wxa)
		for len(server.connections.list()) > 0 {
			time.Sleep(time.Second)
		}
		if d := time.Since(began); d < writeTimeout || d > writeTimeout+deadlineStep+time.Second {
			t.Errorf("one that does not read: after %v, want %v to %v", d, writeTimeout, writeTimeout+deadlineStep)
		}
	})
}

// A plain request that net/http had to answer leaves the connection fast; one that is not
// plain does not, nor does one whose answer had not come when the next began.
func TestAConnectionIsFastAgainAfterAPlainRequest(t *testing.T) {
	inBubble(t, plaintext, func(t *testing.T, server *Server, dial func() *client) {
		ask := func(c *client, who, path string, want int) {
			t.Helper()
			if status, err := c.ask(who, path); status != want {
				t.Fatalf("%d %v, want %d", status, err, want)
			}
			_ = c.SetDeadline(time.Time{})
			synctest.Wait()
		}
		is := func(c *client, fast bool, why string) {
			t.Helper()
			if got := server.connections.list()[0].fast.Load(); got != fast {
				t.Errorf("%s: fast %v, want %v", why, got, fast)
			}
		}
		c := dial()
		ask(c, stranger, "/v1/tokens/"+wxa, 401)
		is(c, true, "a wrong password")
		ask(c, reader, "/v1/tokens/"+wxa, 200)
		is(c, true, "the first time with a password")
		ask(c, reader, "/v1/tokens/none", 403)
		is(c, true, "another account")
		for range 10 { // the limit of strangers does not hold any more
			c.plainly(t, server)
			time.Sleep(anonymousIdleTimeout)
		}
		ask(c, reader, "/v1/tokens/none", 403)
		began := time.Now()
		_, _ = c.r.ReadByte()
		if d := time.Since(began); d != idleTimeout {
			t.Errorf("it ended after %v, want %v", d, idleTimeout)
		}

		c = dial()
		ask(c, reader, "/v1/tokens/"+wxa+"?wait=0", 200)
		is(c, false, "a query")
		ask(c, reader, "/v1/tokens/none", 403)
		is(c, false, "a plain one after a query")
		_ = c.Close()
		synctest.Wait()

		c = dial()
		if err := c.send(reader, "/v1/tokens/none"); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = c.Write([]byte("X")) }() // ends when the server has read it
		synctest.Wait()
		if status, err := c.receive(); status != 403 {
			t.Errorf("%d %v, want 403", status, err)
		}
		ask(c, reader, "/v1/tokens/"+wxa, 405) // the method is XGET
		is(c, false, "the beginning of another request before the answer")
	})
}

func TestShutdownDoesNotWaitForFastConnections(t *testing.T) {
	for name, e := range map[string]func(*testing.T) Exposure{"plaintext": plaintext, "TLS": encrypted} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, e, func(t *testing.T, server *Server, dial func() *client) {
				c := dial()
				if name == "TLS" {
					secure := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
					c = &client{secure, bufio.NewReader(secure)}
				}
				c.plainly(t, server)
				gone := make(chan struct{})
				go func() { // ends when the server closes the connection
					_, _ = c.r.ReadByte()
					close(gone)
				}()
				began := time.Now()
				if err := server.Shutdown(t.Context()); err != nil || time.Since(began) > time.Second {
					t.Errorf("%v, after %v", err, time.Since(began))
				}
				<-gone
			})
		})
	}
}

// net/http tells handlers of the encryption, although what it reads from is no *tls.Conn.
func TestRequestsAfterFastOnesAreStillEncrypted(t *testing.T) {
	inBubble(t, encrypted, func(t *testing.T, server *Server, dial func() *client) {
		secure := tls.Client(dial().Conn, &tls.Config{InsecureSkipVerify: true})
		c := &client{secure, bufio.NewReader(secure)}
		c.plainly(t, server)
		if err := c.send("", metadataPath); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if body, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(body), `"issuer":"https://`) {
			t.Errorf("%v: %s", err, body)
		}
	})
}

// An answer that is being written when the server ends is written to its end.
func TestShutdownWaitsForFastAnswers(t *testing.T) {
	inBubble(t, plaintext, func(t *testing.T, server *Server, dial func() *client) {
		c := dial()
		c.plainly(t, server)
		if err := c.send(admin, "/v1/tokens/"+wxa); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is being written, because the client does not read
		began, ended := time.Now(), make(chan error, 1)
		go func() { ended <- server.Shutdown(t.Context()) }() // ends below
		synctest.Wait()
		if status, err := c.receive(); status != 200 {
			t.Errorf("%d %v", status, err)
		}
		if err := <-ended; err != nil || time.Since(began) > time.Second {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
	})
}

func encrypted(t *testing.T) Exposure {
	a, dir := newAuthority(t), t.TempDir()
	cert, key := a.issue("server")
	return Exposure{CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key)}
}

// A client that has not finished the handshake does not hold up others, the end of the
// server, or its own connection for longer than a header may take.
func TestUnfinishedHandshakesHoldUpNothing(t *testing.T) {
	inBubble(t, encrypted, func(t *testing.T, server *Server, dial func() *client) {
		slow := dial()
		began := time.Now()
		secure := tls.Client(dial().Conn, &tls.Config{InsecureSkipVerify: true})
		if status, err := (&client{secure, bufio.NewReader(secure)}).ask(admin, "/v1/tokens/"+wxa); status != 200 {
			t.Errorf("%d %v", status, err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("another one is answered after %v", d)
		}
		_, _ = slow.r.ReadByte()
		if d := time.Since(began); d != readHeaderTimeout {
			t.Errorf("it ended after %v, want %v", d, readHeaderTimeout)
		}
		late := dial()
		began = time.Now()
		if err := server.Shutdown(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
		if _, err := late.r.ReadByte(); err == nil {
			t.Error("it was answered")
		}
	})
}
