package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
)

// serveAtMost serves a stage's API over at most so many connections.
func serveAtMost(t *testing.T, s *stage, most int) (*Server, string) {
	t.Helper()
	server, err := NewServer(s.api, Exposure{}, slog.New(slog.NewTextHandler(s.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	limit(server, most)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, server, l)
	return server, l.Addr().String()
}

func limit(server *Server, most int) {
	cs := newConnections(most, server.connections.log)
	server.connections, server.http.ConnContext = cs, cs.connContext
}

func serveOn(t *testing.T, server *Server, l net.Listener) {
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }() // ends with Shutdown
	t.Cleanup(func() {
		_ = server.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left := len(server.connections.list()); left > 0 || len(server.connections.bySource) > 0 || server.connections.requests > 0 {
			t.Errorf("%d connections, %d places, %d requests are counted after the end",
				left, len(server.connections.bySource), server.connections.requests)
		}
	})
}

// client is one connection.
type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{c, bufio.NewReader(c)}
}

// ask sends a request, as a caller ("": without credentials), and returns the status.
func (c *client) ask(who, path string) (int, error) {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := c.send(who, path); err != nil {
		return 0, err
	}
	return c.receive()
}

func (c *client) send(who, path string) error {
	authorization := ""
	if who != "" {
		authorization = "Authorization: Bearer " + who + "\r\n"
	}
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, authorization)
	return err
}

func (c *client) receive() (int, error) {
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// alive reports whether the server has not closed the connection.
func (c *client) alive() bool {
	_ = c.SetDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := c.r.Peek(1)
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

func TestACallerGetsInWhileIdleStrangersHoldOn(t *testing.T) {
	s := newStage(t)
	const most = 80
	server, addr := serveAtMost(t, s, most)
	var strangers []*client
	for range 300 {
		c := dial(t, addr)
		if status, err := c.ask("", "/healthz"); status != 200 {
			t.Fatalf("a stranger: %d %v", status, err)
		}
		strangers = append(strangers, c)
		if open := len(server.connections.list()); open > most/4 {
			t.Fatalf("%d connections of strangers are open, want at most %d", open, most/4)
		}
	}
	caller := dial(t, addr)
	for range 3 {
		if status, err := caller.ask(admin, "/v1/tokens/"+wxa); status != 200 {
			t.Fatalf("a caller: %d %v", status, err)
		}
		for range 30 { // and yet more strangers
			if status, err := dial(t, addr).ask("", "/healthz"); status != 200 {
				t.Fatalf("a stranger: %d %v", status, err)
			}
		}
	}
	if strangers[0].alive() {
		t.Error("the longest idle stranger was not closed")
	}
	log := s.log.String()
	if n := strings.Count(log, "too many connections"); n != 1 || !strings.Contains(log, "without_caller=1") {
		t.Errorf("the log says it %d times, want once a minute: %s", n, log)
	}
}

func TestStrangersThatSendNothingGiveWayToo(t *testing.T) {
	s := newStage(t)
	_, addr := serveAtMost(t, s, 80)
	for i := range 60 {
		c := dial(t, addr)
		if i%2 == 0 {
			fmt.Fprint(c, "POST /GetToken HTTP/1.1\r\nHost: x\r\nContent-Type: "+formType+"\r\nContent-Length: 100\r\n\r\nname=")
		}
	}
	began := time.Now()
	if status, err := dial(t, addr).ask(admin, "/v1/tokens/"+wxa); status != 200 {
		t.Fatalf("a caller: %d %v", status, err)
	}
	if took := time.Since(began); took > 4*openGrace {
		t.Errorf("the caller had to wait %v", took)
	}
}

func TestWaitingCallersAreNotClosedForStrangers(t *testing.T) {
	s := newStage(t)
	_, addr := serveAtMost(t, s, 80)
	path := fmt.Sprintf("/v1/tokens/%s?after=%d&wait=60s", wxa, s.store.Peek(wxa).Record.Generation)
	const waiting = 50
	var holders []*client
	for range waiting {
		c := dial(t, addr)
		if err := c.send(admin, path); err != nil {
			t.Fatal(err)
		}
		holders = append(holders, c)
	}
	s.wait("all to hold", func() bool { return s.api.Holding() == waiting })
	for range 100 {
		if status, err := dial(t, addr).ask("", "/healthz"); status != 200 {
			t.Fatalf("a stranger: %d %v", status, err)
		}
	}
	if r := s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", ""); r.status != 200 {
		t.Fatalf("refresh: %d %s", r.status, r.body)
	}
	for i, c := range holders {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if status, err := c.receive(); status != 200 {
			t.Errorf("holder %d: %d %v", i, status, err)
		}
	}
}

func TestTheLongestIdleCallerGivesWayToACaller(t *testing.T) {
	s := newStage(t)
	server, addr := serveAtMost(t, s, 40)
	most := server.connections.maxAuthenticated
	var all []*client
	for range most + 5 {
		c := dial(t, addr)
		if status, err := c.ask(admin, "/v1/tokens/"+wxa); status != 200 {
			t.Fatalf("%d %v", status, err)
		}
		all = append(all, c)
		s.wait("it to be idle", func() bool { return !server.connections.any(active) })
	}
	for i, c := range all {
		if c.alive() != (i >= 5) {
			t.Errorf("connection %d of %d is alive: %v", i, len(all), c.alive())
		}
	}
}

func TestACrowdOfCallersThatComesAtOnceIsServedWhole(t *testing.T) {
	s := newStage(t)
	_, addr := serveAtMost(t, s, 2000)
	var done sync.WaitGroup
	var served atomic.Int32
	clients := make([]*client, 1400) // three times the room of strangers
	for i := range clients {
		clients[i] = dial(t, addr)
		done.Go(func() {
			if status, err := clients[i].ask(reader, "/v1/tokens/"+wxa); status != 200 {
				t.Errorf("%d %v", status, err)
				return
			}
			served.Add(1)
		})
	}
	done.Wait()
	if int(served.Load()) != len(clients) {
		t.Errorf("%d of %d were served", served.Load(), len(clients))
	}
}

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// put counts a connection from an address that is in a phase.
func put(t *testing.T, cs *connections, from string, p phase) *connection {
	t.Helper()
	theirs, ours := net.Pipe()
	t.Cleanup(func() { theirs.Close(); ours.Close() })
	c := &connection{Conn: theirs, all: cs, source: netip.MustParseAddr(from)}
	if !cs.add(c) {
		t.Fatal("there is no room")
	}
	c.setPhase(p)
	return c
}

func (cs *connections) has(c *connection) bool {
	_, stranger := cs.anonymous[c]
	_, caller := cs.authenticated[c]
	return stranger || caller
}

func (cs *connections) any(p phase) bool {
	return slices.ContainsFunc(cs.list(), func(c *connection) bool { is, _ := c.phase(); return is == p })
}

func TestWhoGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cs := newConnections(32, slog.New(slog.DiscardHandler)) // 8 strangers
		working, newer := put(t, cs, "192.0.2.1", active), put(t, cs, "192.0.2.2", opened)
		time.Sleep(time.Millisecond)
		var crowd []*connection
		for i := range 4 { // more than a quarter
			crowd = append(crowd, put(t, cs, "192.0.2.3", []phase{active, opened, active, opened}[i]))
			time.Sleep(time.Millisecond)
		}
		idlers := []*connection{put(t, cs, "192.0.2.4", idle), nil}
		time.Sleep(time.Millisecond)
		idlers[1] = put(t, cs, "192.0.2.3", idle)
		time.Sleep(time.Millisecond)

		newcomers := 0
		gives := func(want *connection, what string) {
			t.Helper()
			newcomers++
			put(t, cs, fmt.Sprint("192.0.2.", 100+newcomers), active)
			if cs.has(want) || len(cs.anonymous) != cs.maxAnonymous {
				t.Errorf("%s did not give way", what)
			}
			time.Sleep(time.Millisecond)
		}
		gives(idlers[0], "the longest idle one")
		gives(idlers[1], "the other idle one")
		newcomer := &connection{all: cs, source: netip.MustParseAddr("192.0.2.5")}
		if cs.add(newcomer) {
			t.Fatal("one gave way that had no time yet")
		}
		time.Sleep(busySourceGrace)
		gives(crowd[1], "the older new one of the crowd")
		gives(crowd[3], "the newer new one of the crowd")
		if cs.add(newcomer) {
			t.Fatal("one gave way that is of no crowd and had no time yet")
		}
		time.Sleep(openGrace)
		gives(newer, "the new one")
		gives(working, "the oldest one at work")
	})
}

func TestTheLogSaysOnceAMinuteHowManyWereClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Buffer
		cs := newConnections(32, slog.New(slog.NewTextHandler(&log, nil))) // 8 strangers
		for i := range 8 + 150 {
			put(t, cs, fmt.Sprint("192.0.2.", i), idle)
			time.Sleep(990 * time.Millisecond) // never at the minute
		}
		time.Sleep(time.Hour)
		var counts []string
		for line := range strings.Lines(log.String()) {
			_, rest, _ := strings.Cut(line, "without_caller=")
			count, _, _ := strings.Cut(rest, " ")
			counts = append(counts, count)
		}
		if got := strings.Join(counts, " "); got != "1 60 61 28" {
			t.Errorf("the log says %s: %s", got, log.String())
		}
		total := make(map[string]uint64)
		(&Server{connections: cs}).ClosedConnections(func(kind string, n uint64) { total[kind] = n })
		if total["anonymous"] != 150 || total["authenticated"] != 0 {
			t.Errorf("the metrics say %v, want 150 anonymous ones", total)
		}
	})
}

func TestRequestsOfStrangersOverHTTP2AreBounded(t *testing.T) {
	cs := newConnections(32, slog.New(slog.DiscardHandler)) // 8 strangers, 32 requests
	greedy, modest, caller := put(t, cs, "192.0.2.1", active), put(t, cs, "192.0.2.2", active), put(t, cs, "192.0.2.3", active)
	cs.beginRequest(caller)
	cs.setAuthenticated(caller)
	cs.beginRequest(modest)
	for range 31 {
		cs.beginRequest(greedy)
		cs.beginRequest(caller)
	}
	if !cs.has(greedy) || cs.requests != 32 {
		t.Fatalf("%d requests are counted, want 32", cs.requests)
	}
	cs.beginRequest(modest)
	if cs.has(greedy) || !cs.has(modest) || !cs.has(caller) || cs.requests != 2 {
		t.Errorf("the one with the most requests did not give way; %d are counted", cs.requests)
	}
	for range 40 {
		cs.endRequest(greedy)
		cs.endRequest(caller)
		cs.endRequest(modest)
	}
	if cs.requests != 0 {
		t.Errorf("%d requests are counted after all ended", cs.requests)
	}
}

func TestTheLimitLeavesFilesForOtherThings(t *testing.T) {
	if n := connectionLimit(); n < 16 || n > maxConnections {
		t.Errorf("connectionLimit() = %d", n)
	}
	cs := newConnections(maxConnections, nil)
	if cs.maxAuthenticated+cs.maxAnonymous != maxConnections || cs.maxAuthenticated < DefaultLimits().Holding+DefaultLimits().Streams {
		t.Errorf("room for %d callers, who may hold %d requests and streams", cs.maxAuthenticated, DefaultLimits().Holding+DefaultLimits().Streams)
	}
}
