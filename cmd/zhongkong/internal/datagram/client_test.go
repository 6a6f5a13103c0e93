package datagram

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

func TestClientGetsTheTokenFromTheServer(t *testing.T) {
	client := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: record}))
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() {
			answer, err := client.Ask(t.Context(), account)
			if err != nil || answer.AccessToken != plain || answer.Generation != 7 {
				t.Errorf("Ask() = %s, %v", answer.AccessToken, err)
			}
		})
	}
	done.Wait()
}

func TestClientPadsMoreWhenItIsTold(t *testing.T) {
	long := strings.Repeat("t", 3000)
	var outcomes sync.Map
	client := serve(t, NewServer(Config{
		Callers: newAuthenticator(t), Answerer: book(`{"access_token":"` + long + `"}`),
		Observe: func(o Outcome) { outcomes.Store(o, true) },
	}))
	answer, err := client.Ask(t.Context(), account)
	if err != nil || answer.AccessToken != long {
		t.Errorf("Ask() = %d characters, %v", len(answer.AccessToken), err)
	}
	if _, told := outcomes.Load(TooSmall); !told {
		t.Error("the first question was large enough: the test shows nothing")
	}
}

func TestClientReturnsTheServersErrorAtOnceIfWaitingDoesNotHelp(t *testing.T) {
	client := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: book(`{"error":"refused","message":"invalid appsecret"}`)}))
	for name, want := range map[string]string{account: "refused", "wx-other": "forbidden"} {
		_, err := client.Ask(t.Context(), name) // until the test ends, if it waited
		if answered := new(AnswerError); !errors.As(err, &answered) || answered.Code != want {
			t.Errorf("Ask(%s) = %v, want %s", name, err, want)
		}
	}
	huge := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: book(`{"access_token":"` + strings.Repeat("t", MaxSize) + `"}`)}))
	if _, err := huge.Ask(t.Context(), account); err == nil || !strings.Contains(err.Error(), "ask over HTTP") {
		t.Errorf("Ask() for a huge token = %v", err)
	}
}

// later has no token before it was asked a few times.
type later struct {
	asked atomic.Int32
	until int32
	code  string
}

func (l *later) Answer(auth.Caller, string) []byte {
	if l.asked.Add(1) <= l.until {
		return []byte(`{"error":"` + l.code + `","message":"there is none yet"}`)
	}
	return []byte(record)
}

func TestClientWaitsForATokenThatMayCome(t *testing.T) {
	for _, code := range []string{"no_token", "store_unreachable"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			server := &later{until: 2, code: code}
			client := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: server}))
			began := time.Now()
			answer, err := client.Ask(t.Context(), account)
			if err != nil || answer.AccessToken != plain {
				t.Errorf("Ask() = %v, want the token that came", err)
			}
			if took := time.Since(began); took < minRepeat+2*minRepeat {
				t.Errorf("%d questions in %v, want pauses between them", server.asked.Load(), took)
			}
		})
	}
}

func TestWithoutATokenInTimeClientReturnsWhatTheServerSaidLast(t *testing.T) {
	for _, code := range []string{"no_token", "store_unreachable"} {
		client := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: &later{until: 1 << 30, code: code}}))
		ctx, cancel := context.WithTimeout(t.Context(), minRepeat+minRepeat/2) // two questions
		defer cancel()
		_, err := client.Ask(ctx, account)
		answered := new(AnswerError)
		if !errors.As(err, &answered) || answered.Code != code || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
			t.Errorf("Ask() = %v, want %s at the end of the context", err, code)
		}
		if errors.Is(err, ErrNoAnswer) {
			t.Errorf("Ask() = %v, but the server did answer", err)
		}
	}
}

func TestSilenceEndsWithTheContextAndSaysWhatToLookAt(t *testing.T) {
	client := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: record}))
	wrong := *client
	wrong.Key = otherKey
	closed := *client
	closed.Addr = closedPort(t)
	for name, c := range map[string]*Client{"wrong key": &wrong, "nobody listens": &closed} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := c.Ask(ctx, account)
			if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "both clocks right") {
				t.Errorf("Ask() = %v", err)
			}
		})
	}
	if _, err := (&Client{Addr: "nowhere", Name: "ci", Key: udpKey}).Ask(t.Context(), account); err == nil {
		t.Error("Ask() of a bad address = nil error")
	}
	if _, err := (&Client{Addr: client.Addr, Name: "ci", Key: udpKey[:5]}).Ask(t.Context(), account); err == nil || errors.Is(err, ErrNoAnswer) {
		t.Errorf("Ask() with a short key = %v, want it at once", err)
	}
}

func TestClientAsksAgainWithANewNonceAndIgnoresStrangers(t *testing.T) {
	server := NewServer(Config{Callers: newAuthenticator(t), Answerer: record})
	conn := listen(t)
	var asked atomic.Int32
	go func() { // ends when conn is closed
		space := make([]byte, MaxSize)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(space)
			if err != nil {
				return
			}
			send := func(b []byte) { _, _ = conn.WriteToUDPAddrPort(b, from) }
			// What an attacker on the way could send: junk, the question
			// itself, an answer of another time.
			send([]byte("junk"))
			send(space[:n])
			send(mustSeal(t, udpKey, members("ci"), `{"nonce":"another-question","access_token":"old"}`))
			send(mustSeal(t, otherKey, members("ci"), `{"access_token":"forged"}`))
			send(mustSeal(t, udpKey, members("other"), `{"access_token":"forged"}`))
			if asked.Add(1) == 1 {
				continue // the first is lost
			}
			answer, outcome := server.answer(space[:n], from)
			if outcome != Answered {
				t.Errorf("the repeated question: %s", outcome)
			}
			send(answer)
		}
	}()
	client := &Client{Addr: conn.LocalAddr().String(), Name: "ci", Key: udpKey}
	answer, err := client.Ask(t.Context(), account)
	if err != nil || answer.AccessToken != plain {
		t.Errorf("Ask() = %v", err)
	}
	if asked.Load() < 2 {
		t.Error("asked once: the test shows nothing")
	}
}

func TestClientAsksEachAddressOfAHostUntilOneAnswers(t *testing.T) {
	const closed = "127.0.0.2" // or no address of this machine: nobody answers either way
	unreachable := "fe80::1"   // without a zone, no socket can be made for it
	for name, addrs := range map[string][]string{
		"the first":                   {"127.0.0.1", closed},
		"the second":                  {closed, "127.0.0.1"},
		"the last":                    {closed, unreachable, closed, "::ffff:127.0.0.1"},
		"the one that can be reached": {unreachable, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: record}))
			client.Addr = strings.Replace(client.Addr, "127.0.0.1", "tokens.internal", 1)
			client.lookup = resolvesTo(addrs...)
			answer, err := client.Ask(t.Context(), account)
			if err != nil || answer.AccessToken != plain {
				t.Errorf("Ask() = %v", err)
			}
		})
	}
}

func TestClientGoesOnFromAnAddressThatIsSilentAndStaysAtOneThatAnswers(t *testing.T) {
	server := &later{until: 2, code: "no_token"}
	client := serve(t, NewServer(Config{Callers: newAuthenticator(t), Answerer: server}))
	port := netip.MustParseAddrPort(client.Addr).Port()
	silent, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port)))
	if err != nil {
		t.Skipf("a second address of this machine: %v", err)
	}
	defer func() { _ = silent.Close() }()
	client.lookup = resolvesTo("127.0.0.2", "127.0.0.1")
	answer, err := client.Ask(t.Context(), account)
	if err != nil || answer.AccessToken != plain {
		t.Errorf("Ask() = %v", err)
	}
	_ = silent.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // all of them are in the kernel's buffer
	questions, space := int32(0), make([]byte, longest)
	for ; err == nil; questions++ {
		_, _, err = silent.ReadFromUDPAddrPort(space)
	}
	questions-- // the reading that failed
	if questions < 1 || questions >= server.asked.Load() {
		t.Errorf("%d questions to the silent address, %d to the one that answers, want 1 and 3", questions, server.asked.Load())
	}
}

func TestAnErrorNamesTheAddressesThatWereAsked(t *testing.T) {
	_, port, _ := net.SplitHostPort(closedPort(t))
	client := &Client{Addr: "tokens.internal:" + port, Name: "ci", Key: udpKey, lookup: resolvesTo("127.0.0.1", "127.0.0.2")}
	ctx, cancel := context.WithTimeout(t.Context(), 2*minRepeat) // enough also where the first is silent
	defer cancel()
	_, err := client.Ask(ctx, account)
	if want := "tokens.internal:" + port + " (127.0.0.1:" + port + ", 127.0.0.2:" + port + ")"; !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), want) {
		t.Errorf("Ask() = %v, want %s", err, want)
	}
	client.lookup = resolvesTo("fe80::1")
	if _, err := client.Ask(t.Context(), account); err == nil || errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "fe80::1") {
		t.Errorf("Ask() where no socket can be made = %v, want it at once", err)
	}
}

func resolvesTo(addrs ...string) lookup {
	return func(context.Context, string, string) (found []netip.Addr, _ error) {
		for _, a := range addrs {
			found = append(found, netip.MustParseAddr(a))
		}
		return found, nil
	}
}

func TestServeEndsWithTheContextAndWithTheSocket(t *testing.T) {
	server := NewServer(Config{Callers: newAuthenticator(t), Answerer: record})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Serve(ctx, listen(t)); err != nil {
		t.Errorf("Serve() after the context = %v", err)
	}
	conn := listen(t)
	_ = conn.Close()
	if err := server.Serve(t.Context(), conn); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve() of a closed socket = %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"nonce":"0123456789abcdef","access_token":"t"}`)
	f.Add(`{"nonce":"0123456789abcdef","error":"too_small","size":9999}`)
	f.Add(`{"nonce":"0123456789abcdef","error":"too_small","size":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		a := &exchange{Client: &Client{Name: "ci", Key: udpKey}, size: usualSize, nonces: map[string]bool{someNonce: true}}
		sealed, err := jwe.Seal(udpKey, members("ci"), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := a.read([]byte(sealed))
		if err == nil && (answer.AccessToken == "" || !strings.Contains(text, someNonce)) {
			t.Errorf("read(%s) = %v", text, answer)
		}
		if a.size < usualSize || a.size > MaxSize {
			t.Errorf("read(%s) wants %d bytes", text, a.size)
		}
		if _, err := a.read([]byte(text)); !errors.Is(err, errUnrelated) {
			t.Errorf("read(unsealed) = %v", err)
		}
	})
}

// serve runs s until the test ends and returns a client of it.
func serve(t *testing.T, s *Server) *Client {
	t.Helper()
	conn := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, conn) }() // waited for in Cleanup
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return &Client{Addr: conn.LocalAddr().String(), Name: "ci", Key: udpKey}
}

func listen(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func closedPort(t *testing.T) string {
	conn := listen(t)
	_ = conn.Close()
	return conn.LocalAddr().String()
}
