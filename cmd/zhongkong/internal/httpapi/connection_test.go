package httpapi

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestIdleConnectionsEndSoonerWhereNoCallerWasProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, err := coordinator.New(coordinator.Config{Store: memstore.New()})
		if err != nil {
			t.Fatal(err)
		}
		server, err := NewServer(New(Config{Coordinator: zk, Callers: newCallers(t), Directory: noDirectory{}}), Exposure{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := pipes(make(chan net.Conn))
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }() // ends with Shutdown
		ended := func(who string, half bool) time.Duration {
			theirs, ours := net.Pipe()
			l <- theirs
			c := &client{ours, bufio.NewReader(ours)}
			for range 2 { // used again
				if status, err := c.ask(who, "/openapi.yaml"); status != 200 && status != 401 {
					t.Fatalf("%d %v", status, err)
				}
			}
			_ = c.SetDeadline(time.Time{})
			began := time.Now()
			if half {
				go func() { // ends when the server closes the connection
					for i := range 1000 {
						time.Sleep(4 * time.Second)
						if _, err := fmt.Fprintf(c, "%s", "GET / HTTP/1.1\r\nHost: x\r\nX: y"[i%20:i%20+1]); err != nil {
							return
						}
					}
				}()
			}
			_, _ = c.r.ReadByte()
			return time.Since(began)
		}
		if d := ended("", false); d != anonymousIdleTimeout {
			t.Errorf("a stranger's: after %v, want %v", d, anonymousIdleTimeout)
		}
		if d := ended("", true); d > anonymousIdleTimeout+time.Second {
			t.Errorf("a stranger's that begins another request: after %v, want %v", d, anonymousIdleTimeout)
		}
		if d := ended(admin, false); d != server.http.IdleTimeout {
			t.Errorf("a caller's: after %v, want %v", d, server.http.IdleTimeout)
		}
		_ = server.Shutdown(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func TestAnIdleConnectionOfHTTP2EndsTooWhateverPingsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zk, err := coordinator.New(coordinator.Config{Store: memstore.New()})
		if err != nil {
			t.Fatal(err)
		}
		a, dir := newAuthority(t), t.TempDir()
		cert, key := a.issue("server")
		e := Exposure{CertFile: write(t, filepath.Join(dir, "c.pem"), cert), KeyFile: write(t, filepath.Join(dir, "k.pem"), key)}
		server, err := NewServer(New(Config{Coordinator: zk, Callers: newCallers(t), Directory: noDirectory{}}), e, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := pipes(make(chan net.Conn))
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }() // ends with Shutdown
		theirs, ours := net.Pipe()
		l <- theirs
		c := tls.Client(ours, &tls.Config{RootCAs: a.pool(), ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
		var sending sync.WaitGroup
		began := time.Now()
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		sending.Go(func() { // the preface, SETTINGS, and a PING a second until the server closes
			_, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			for err == nil {
				time.Sleep(time.Second)
				_, err = io.WriteString(c, "\x00\x00\x08\x06\x00\x00\x00\x00\x00pingping")
			}
		})
		_, _ = io.Copy(io.Discard, c)
		if d := time.Since(began); d < anonymousIdleTimeout || d > anonymousIdleTimeout+time.Second {
			t.Errorf("it ended after %v, want %v", d, anonymousIdleTimeout)
		}
		_ = c.Close()
		sending.Wait()
		_ = server.Shutdown(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pipes is a listener of net.Pipes.
type pipes chan net.Conn
