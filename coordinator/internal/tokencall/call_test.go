package tokencall

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
)

type oneToken struct{}

func (oneToken) Token(context.Context) (coordinator.Token, error) {
	return coordinator.NewToken("token"), nil
}

func (oneToken) Invalidate(context.Context, coordinator.Token) (coordinator.Snapshot, error) {
	return coordinator.Snapshot{}, errors.New("the token was not rejected")
}

// post makes a call through base with a POST of body, and returns the status.
func post(t *testing.T, base http.RoundTripper, address string, body io.Reader) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, body)
	if err != nil {
		t.Fatal(err)
	}
	call := Call{
		Account: oneToken{}, Base: base,
		Check:   func(*http.Request) error { return nil },
		Put:     func(out *http.Request, token coordinator.Token) { out.Header.Set("Authorization", token.Reveal()) },
		Rejects: func(*http.Response) bool { return false },
	}
	resp, err := call.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

// sentAgain are bodies, and whether net/http can send them again.
var sentAgain = map[string]struct {
	body func() io.Reader
	want bool
}{
	"no body":             {func() io.Reader { return nil }, true},
	"a body with GetBody": {func() io.Reader { return strings.NewReader("hello") }, true},
	"a short stream":      {func() io.Reader { return io.MultiReader(strings.NewReader("hello")) }, true},
	"a stream that is too long to be kept": {
		func() io.Reader { return io.MultiReader(strings.NewReader(strings.Repeat("x", maxRepeatable+1))) }, false,
	},
}

// net/http sends a request again of which nothing was written because the server had
// closed the kept connection, and needs its body for that.
func TestARequestThatMeetsAClosedConnectionIsSentAgain(t *testing.T) {
	for name, c := range sentAgain {
		t.Run(name, func(t *testing.T) {
			var got atomic.Value
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got.Store(string(body))
			}))
			defer server.Close()
			var kept *closable
			base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				kept = &closable{Conn: conn}
				return kept, err
			}}
			defer base.CloseIdleConnections()
			if status, err := post(t, base, server.URL, nil); err != nil || status != http.StatusOK {
				t.Fatal(status, err)
			}
			kept.closed.Store(true)
			status, err := post(t, base, server.URL, c.body())
			if again := err == nil && status == http.StatusOK; again != c.want {
				t.Fatalf("%d, %v: sent again: %t, want %t", status, err, again, c.want)
			}
			if c.want && c.body() != nil && got.Load() != "hello" {
				t.Errorf("the server got the body %q", got.Load())
			}
		})
	}
}

// closable is a connection that can be made one on which nothing can be written.
type closable struct {
	net.Conn
	closed atomic.Bool
}

func (c *closable) Write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, errors.New("broken pipe")
	}
	return c.Conn.Write(b)
}

// A server that ends refuses the streams that it has not begun to process.
func TestAStreamThatTheServerRefusesIsSentAgain(t *testing.T) {
	for name, c := range sentAgain {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { // ends with the connection
				if conn, err := listener.Accept(); err == nil {
					refuseOneStream(conn)
					_ = conn.Close()
				}
			}()
			var client net.Conn
			base := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, address string) (_ net.Conn, err error) {
				client, err = new(net.Dialer).DialContext(ctx, network, address)
				return client, err
			}}
			base.Protocols.SetUnencryptedHTTP2(true)
			status, err := post(t, base, "http://"+listener.Addr().String(), c.body())
			if again := err == nil && status == http.StatusOK; again != c.want {
				t.Errorf("%d, %v: sent again: %t, want %t", status, err, again, c.want)
			}
			_ = client.Close()
			_ = listener.Close()
		})
	}
}

// Types and flags of HTTP/2 frames (RFC 9113, section 6).
const (
	frameData, frameHeaders, frameReset, frameSettings, framePing = 0, 1, 3, 4, 6

	flagEnd, flagAck, flagEndHeaders = 1, 1, 4
)

// refuseOneStream is an HTTP/2 server that refuses the first stream when all of it has
// come, and answers each other one with the status 200.
func refuseOneStream(conn net.Conn) {
	r := bufio.NewReader(conn)
	if _, err := r.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	write := func(kind, flags byte, stream uint32, payload ...byte) {
		head := binary.BigEndian.AppendUint32([]byte{0, 0, byte(len(payload)), kind, flags}, stream)
		_, _ = conn.Write(append(head, payload...))
	}
	// Windows of 1 MiB: the whole body fits in.
	write(frameSettings, 0, 0, 0, 4, 0, 0x10, 0, 0)
	write(8, 0, 0, 0, 0x10, 0, 0) // WINDOW_UPDATE
	refused := uint32(0)
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		payload := make([]byte, length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		switch {
		case kind == frameSettings && flags&flagAck == 0:
			write(frameSettings, flagAck, 0)
		case kind == framePing && flags&flagAck == 0:
			write(framePing, flagAck, 0, payload...)
		case kind != frameData && kind != frameHeaders || flags&flagEnd == 0:
		case refused == 0:
			refused = stream
			write(frameReset, 0, stream, 0, 0, 0, 7) // REFUSED_STREAM
		default:
			write(frameHeaders, flagEnd|flagEndHeaders, stream, 0x88) // :status 200
		}
	}
}
