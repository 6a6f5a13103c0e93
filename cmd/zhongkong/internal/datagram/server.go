package datagram

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// Callers has the callers and their keys. *auth.Authenticator is one.
type Callers interface {
	// DatagramKey returns the caller with the given name and the key of its
	// datagrams.
	DatagramKey(name string) (auth.Caller, []byte, bool)
}

// Answerer has the answers. *httpapi.API is one.
type Answerer interface {
	// Answer returns what GET /v1/tokens/{account} answers to the caller, who may
	// have that account's token: a wire.Token or a wire.Error as JSON. It must
	// not block: a worker of the server waits for it.
	Answer(caller auth.Caller, account string) []byte
}

// Config configures a Server. Callers and Answerer are required.
type Config struct {
	Callers  Callers
	Answerer Answerer

	// Logger receives a line for each packet that was answered without a token, or
	// not at all. Any stranger can send such packets: the logger has to ration the
	// lines. Nil discards them.
	Logger *slog.Logger

	// Observe is called with the outcome of each packet, from several
	// goroutines. It must return quickly. Nil: it is not called.
	Observe func(Outcome)
}

// Server answers questions. It is safe for concurrent use.
type Server struct {
	config  Config
	replays *replayCaches
}

// NewServer returns a server that answers questions that are asked from now on. It
// starts nothing: see Serve.
func NewServer(c Config) *Server {
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Observe == nil {
		c.Observe = func(Outcome) {}
	}
	return &Server{config: c, replays: newReplayCaches(time.Now())}
}

// Serve answers the packets that arrive on conn until ctx ends, then closes conn.
// It answers the questions it has read before it returns. Packets that its workers
// have no time for wait in the kernel's buffer, and are lost when that is full.
func (s *Server) Serve(ctx context.Context, conn *net.UDPConn) error {
	defer func() { _ = conn.Close() }()
	wake := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer wake()

	errs := make([]error, runtime.GOMAXPROCS(0)+1)
	var workers sync.WaitGroup
	for i := range errs {
		workers.Go(func() { errs[i] = s.work(ctx, conn) }) // ends with ctx or conn
	}
	workers.Wait()
	return errors.Join(errs...)
}

// pause is how long a worker waits after it could not read the socket.
const pause = 100 * time.Millisecond

func (s *Server) work(ctx context.Context, conn *net.UDPConn) error {
	space := make([]byte, longest)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(space)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("answer datagrams: %w", err)
		case err != nil:
			s.config.Logger.Warn("cannot read datagrams", "error", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		answer, outcome := s.answer(space[:n], from)
		s.config.Observe(outcome)
		if answer == nil {
			continue
		}
		if _, err := conn.WriteToUDPAddrPort(answer, from); err != nil {
			s.config.Logger.Debug("cannot send a datagram", "to", from, "error", err)
		}
	}
}

// answer returns the packet to send back, nil for none.
func (s *Server) answer(packet []byte, from netip.AddrPort) ([]byte, Outcome) {
	if len(packet) > MaxSize {
		return nil, s.refused(Malformed, from, "", fmt.Errorf("it has %d bytes, and may have %d", len(packet), MaxSize))
	}
	message, err := jwe.Parse(string(packet), "kid")
	if err != nil {
		return nil, s.refused(Malformed, from, "", err)
	}
	name := message.Claim("kid")
	caller, key, ok := s.config.Callers.DatagramKey(name)
	if !ok {
		return nil, s.refused(Unknown, from, logging.Claimed(name), nil)
	}
	plain, err := message.Open(key)
	if err != nil {
		return nil, s.refused(Forged, from, name, err)
	}
	// From here on, the packet is the caller's or a replay of one.
	q, err := decodeQuestion(plain)
	if err != nil {
		return nil, s.refused(Malformed, from, name, err)
	}
	if admitted := s.replays.of(name).admit(q, time.Now()); admitted != Answered {
		return nil, s.refused(admitted, from, name, nil)
	}
	return s.reply(q, caller, key, len(packet), from)
}

// reply seals the answer, or the longest error that fits into size.
func (s *Server) reply(q question, caller auth.Caller, key []byte, size int, from netip.AddrPort) ([]byte, Outcome) {
	body, outcome := forbidden, Forbidden
	if caller.May(q.Account) {
		body, outcome = s.config.Answerer.Answer(caller, q.Account), Answered
	} else {
		s.refused(Forbidden, from, caller.Name(), nil)
	}
	bodies := [][]byte{body}
	needed, err := jwe.SealedSize(members(caller.Name()), len(withNonce(body, q.Nonce)))
	if err != nil {
		return nil, s.refused(Failed, from, caller.Name(), err)
	}
	if needed > size {
		outcome = TooSmall
		bodies = tooSmall(needed)
	}
	for _, body := range bodies {
		sealed, err := jwe.Seal(key, members(caller.Name()), withNonce(body, q.Nonce))
		if err != nil {
			return nil, s.refused(Failed, from, caller.Name(), err)
		}
		if len(sealed) <= size {
			return []byte(sealed), outcome
		}
	}
	return nil, s.refused(TooSmall, from, caller.Name(), nil)
}

// refused logs a packet that did not receive a token and returns its outcome.
func (s *Server) refused(o Outcome, from netip.AddrPort, name string, err error) Outcome {
	fields := []any{"outcome", o, "from", from}
	if name != "" {
		fields = append(fields, "caller", jwe.Quote(name))
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	s.config.Logger.Warn("datagram refused", fields...)
	return o
}

var forbidden = []byte(`{"error":"forbidden","message":"you may not have this account's token"}`)

// tooSmall returns the forms of the error, the preferred one first.
func tooSmall(needed int) [][]byte {
	short := fmt.Appendf(nil, `{"error":%q,"size":%d}`, codeTooSmall, needed)
	long := fmt.Appendf(nil, `{"error":%q,"message":"pad your question to %d bytes","size":%d}`, codeTooSmall, needed, needed)
	return [][]byte{long, short}
}

func withNonce(object []byte, nonce string) []byte {
	object = bytes.TrimSpace(object)
	if len(object) < 2 || object[0] != '{' || !json.Valid(object) {
		object = []byte(`{"error":"internal","message":"there is no answer"}`)
	}
	out := make([]byte, 0, len(object)+maxNonce+16)
	out = append(out, `{"nonce":"`...)
	out = append(out, nonce...)
	out = append(out, '"')
	if rest := bytes.TrimSpace(object[1:]); rest[0] != '}' {
		out = append(out, ',')
	}
	return append(out, object[1:]...)
}
