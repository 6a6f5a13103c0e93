package datagram

import (
	"bytes"
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
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// Callers knows who may ask. *auth.Authenticator is one.
type Callers interface {
	// Datagrams returns the caller with the given name and the key of its
	// datagrams.
	DatagramKey(name string) (auth.Caller, []byte, bool)
}

// Book has the answers.
type Book interface {
	// Answer returns what GET /v1/tokens/{account} answers a caller who may
	// have that account's token: the record or the error, as a JSON object.
	// It answers from memory: nobody else is answered while it waits.
	Answer(account string) []byte
}

// Config is what a Server works with.
type Config struct {
	Callers Callers
	Book    Book

	// Logger gets a line for a packet that got no token, at most one a second:
	// anybody can send them. Nil discards.
	Logger *slog.Logger

	// Observe is called with what became of each packet, from several
	// goroutines; it must return quickly. Nil: nobody is told.
	Observe func(Outcome)
}

// Outcome is what became of a packet.
type Outcome string

// The outcomes. Only Answered, Forbidden and TooSmall sent something back.
const (
	Answered  Outcome = "answered"
	Forbidden Outcome = "forbidden"  // the caller may not have that account's token
	TooSmall  Outcome = "too_small"  // the answer is larger than the question
	Garbage   Outcome = "garbage"    // not a question, or of another form
	Unknown   Outcome = "unknown"    // no caller of that name has a key
	Forged    Outcome = "forged"     // the caller's key does not open it
	Stale     Outcome = "stale"      // its time is not within Window, or from before this process
	Replayed  Outcome = "replayed"   // its nonce was seen
	Full      Outcome = "full"       // the caller asks faster than nonces may be forgotten
	Failed    Outcome = "not_sealed" // the answer could not be made
)

// Server answers questions.
type Server struct {
	config    Config
	histories *histories
	audit     audit
}

// NewServer returns a server that answers questions asked from now on. It
// starts nothing.
func NewServer(c Config) *Server {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Observe == nil {
		c.Observe = func(Outcome) {}
	}
	return &Server{config: c, histories: newHistories(time.Now()), audit: audit{log: c.Logger}}
}

// Serve answers what comes to conn until ctx ends, then closes it. Questions
// that were taken are answered before it returns. What is more than its
// workers can do waits in the kernel's buffer, and is lost when that is full,
// as datagrams are.
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

// pause is how long a worker waits after the socket failed.
const pause = 100 * time.Millisecond

func (s *Server) work(ctx context.Context, conn *net.UDPConn) error {
	space := make([]byte, MaxSize+1)
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

// answer returns what is to be sent back, nil for nothing.
func (s *Server) answer(packet []byte, from netip.AddrPort) ([]byte, Outcome) {
	if len(packet) > MaxSize {
		return nil, s.audit.refused(Garbage, from, "", errors.New("too long"))
	}
	message, err := jwe.Parse(string(packet), "kid")
	if err != nil {
		return nil, s.audit.refused(Garbage, from, "", err)
	}
	name := message.Claim("kid")
	caller, key, ok := s.config.Callers.DatagramKey(name)
	if !ok {
		return nil, s.audit.refused(Unknown, from, name, nil)
	}
	plain, err := message.Open(key)
	if err != nil {
		return nil, s.audit.refused(Forged, from, name, err)
	}
	// From here on the packet is the caller's, or a copy of one.
	q, err := decodeQuestion(plain)
	if err != nil {
		return nil, s.audit.refused(Garbage, from, name, err)
	}
	if admitted := s.histories.of(name).admit(q, time.Now()); admitted != Answered {
		return nil, s.audit.refused(admitted, from, name, nil)
	}
	return s.reply(q, caller, key, len(packet), from)
}

// reply seals the answer, or as much of an error as fits into size.
func (s *Server) reply(q question, caller auth.Caller, key []byte, size int, from netip.AddrPort) ([]byte, Outcome) {
	body, outcome := forbidden, Forbidden
	if caller.May(q.Account) {
		body, outcome = s.config.Book.Answer(q.Account), Answered
	} else {
		s.audit.refused(Forbidden, from, caller.Name(), nil)
	}
	bodies := [][]byte{body}
	needed, err := jwe.SealedSize(members(caller.Name()), len(withNonce(body, q.Nonce)))
	if err != nil {
		return nil, s.audit.refused(Failed, from, caller.Name(), err)
	}
	if needed > size {
		outcome = TooSmall
		bodies = tooSmall(needed)
	}
	for _, body := range bodies {
		sealed, err := jwe.Seal(key, members(caller.Name()), withNonce(body, q.Nonce))
		if err != nil {
			return nil, s.audit.refused(Failed, from, caller.Name(), err)
		}
		if len(sealed) <= size {
			return []byte(sealed), outcome
		}
	}
	return nil, s.audit.refused(TooSmall, from, caller.Name(), nil)
}

var forbidden = []byte(`{"error":"forbidden","message":"you may not have this account's token"}`)

// tooSmall returns the error in the order of preference.
func tooSmall(needed int) [][]byte {
	short := fmt.Appendf(nil, `{"error":%q,"size":%d}`, codeTooSmall, needed)
	long := fmt.Appendf(nil, `{"error":%q,"message":"pad your question to %d bytes","size":%d}`, codeTooSmall, needed, needed)
	return [][]byte{long, short}
}

// withNonce puts the nonce into a JSON object.
func withNonce(object []byte, nonce string) []byte {
	object = bytes.TrimSpace(object)
	if len(object) < 2 || object[0] != '{' || !json.Valid(object) {
		object = []byte(`{"error":"internal","message":"there is no answer"}`)
	}
	out := make([]byte, 0, len(object)+mostNonce+16)
	out = append(out, `{"nonce":"`...)
	out = append(out, nonce...)
	out = append(out, '"')
	if rest := bytes.TrimSpace(object[1:]); rest[0] != '}' {
		out = append(out, ',')
	}
	return append(out, object[1:]...)
}
