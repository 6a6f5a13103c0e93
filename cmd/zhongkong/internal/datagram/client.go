package datagram

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// ErrNoAnswer is wrapped by the error of Ask when no answer came in time.
var ErrNoAnswer = errors.New("no answer")

// AnswerError is the server's answer when it sends no token. Its codes are those
// of the HTTP interface's errors.
type AnswerError wire.Error

func (e *AnswerError) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

// mayPass reports whether the server may have a token soon.
func (e *AnswerError) mayPass() bool { return e.Code == "no_token" || e.Code == "store_unreachable" }

// Client asks one server. It is safe for concurrent use.
type Client struct {
	Addr string // HOST:PORT
	Name string // of the caller
	Key  []byte // the caller's udp_key, 32 bytes
}

// The time between two questions doubles from the minimum to the maximum.
const (
	minRepeat = 250 * time.Millisecond
	maxRepeat = 2 * time.Second
)

// Ask returns the record of the account's token. It repeats its question until
// the token comes or ctx ends, so it blocks for as long as ctx allows if there is
// no server, or the server waits for a token itself or for its store. It returns
// at once an answer that waiting does not change, and if the network cannot be used
// at all. The error wraps an *AnswerError if the server answered, ErrNoAnswer if not.
// After the end of ctx it wraps ctx's error too.
func (c *Client) Ask(ctx context.Context, account string) (wire.Token, error) {
	began := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", c.Addr)
	if err != nil {
		return wire.Token{}, fmt.Errorf("ask %s: %w", c.Addr, err)
	}
	defer func() { _ = conn.Close() }()
	wake := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer wake()

	a := &exchange{Client: c, account: account, conn: conn, size: usualSize, nonces: make(map[string]bool)}
	for repeat := minRepeat; ; repeat = min(2*repeat, maxRepeat) {
		due := time.Now().Add(repeat)
		answer, err := a.attempt(ctx, due)
		answered, isAnswer := errors.AsType[*AnswerError](err)
		switch {
		case err == nil:
			return answer, nil
		case isAnswer && answered.mayPass():
			a.last = answered
			pauseUntil(ctx, due)
		case !errors.Is(err, errRepeat):
			return wire.Token{}, fmt.Errorf("ask %s: %w", c.Addr, err)
		}
		if ctx.Err() != nil {
			return wire.Token{}, a.noToken(time.Since(began).Round(time.Millisecond), ctx.Err())
		}
	}
}

func pauseUntil(ctx context.Context, due time.Time) {
	t := time.NewTimer(time.Until(due))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// errRepeat means that the question has to be repeated.
var errRepeat = errors.New("ask again")

type exchange struct {
	*Client
	account   string
	conn      net.Conn
	size      int             // questions are padded to it
	nonces    map[string]bool // of all questions sent, because an answer may be late
	last      *AnswerError    // what the server answered last, nil: nothing
	unrelated int             // packets that were not an answer
	cause     error           // the last error of the network
}

// attempt asks once and waits for an answer until the next question is due.
func (a *exchange) attempt(ctx context.Context, due time.Time) (wire.Token, error) {
	nonce := rand.Text() // 128 bits
	datagram, err := question{a.account, time.Now(), nonce}.encode(a.Name, a.Key, a.size)
	if err != nil {
		return wire.Token{}, err
	}
	a.nonces[nonce] = true
	if err := a.conn.SetReadDeadline(due); err != nil {
		return wire.Token{}, err
	}
	if ctx.Err() != nil { // this deadline may have replaced the one that ctx set
		return wire.Token{}, errRepeat
	}
	if _, err := a.conn.Write(datagram); err != nil {
		a.cause = err
	}
	space := make([]byte, longest)
	for {
		n, err := a.conn.Read(space)
		switch {
		case err == nil:
		case errors.Is(err, syscall.ECONNREFUSED):
			// The server may be starting: wait until it is time to repeat.
			a.cause = err
			continue
		default:
			return wire.Token{}, errRepeat
		}
		answer, err := a.read(space[:n])
		if errors.Is(err, errUnrelated) {
			a.unrelated++
			continue
		}
		return answer, err
	}
}

// errUnrelated means that a packet is not an answer to this question. Such a
// packet can come from anywhere, so it must not end the wait.
var errUnrelated = errors.New("not an answer to this question")

func (a *exchange) read(packet []byte) (wire.Token, error) {
	sealed, err := jwe.Parse(string(packet), "kid")
	if err != nil || sealed.Claim("kid") != a.Name {
		return wire.Token{}, errUnrelated
	}
	plain, err := sealed.Open(a.Key)
	if err != nil {
		return wire.Token{}, errUnrelated
	}
	var w message
	if err := json.Unmarshal(plain, &w); err != nil {
		return wire.Token{}, errUnrelated
	}
	switch {
	case !w.isAnswer() || w.Nonce == nil || !a.nonces[*w.Nonce]:
		return wire.Token{}, errUnrelated
	case w.Error == nil && *w.AccessToken != "":
		var record wire.Token
		if err := json.Unmarshal(plain, &record); err != nil {
			return wire.Token{}, fmt.Errorf("the server's answer cannot be read: %w", err)
		}
		return record, nil
	case w.Error == nil:
		return wire.Token{}, errUnrelated
	case *w.Error != codeTooSmall:
		return wire.Token{}, &AnswerError{Code: *w.Error, Message: w.Message}
	case w.Size > MaxSize:
		return wire.Token{}, fmt.Errorf("the answer has %d bytes, more than a datagram may: ask over HTTP", w.Size)
	case w.Size <= a.size:
		return wire.Token{}, errUnrelated // a late answer to an earlier, smaller question
	default:
		a.size = w.Size
		return wire.Token{}, errRepeat
	}
}

// noToken is the error of questions that were repeated until ended. Without any answer it
// lists what may be the reason. The server never says, so that a stranger learns nothing.
func (a *exchange) noToken(after time.Duration, ended error) error {
	if a.last != nil {
		return fmt.Errorf("ask %s: %w\nasked for %v: %w", a.Addr, a.last, after, ended)
	}
	cause := ended
	if a.cause != nil {
		cause = errors.Join(a.cause, ended)
	}
	hint := fmt.Sprintf("is `zhongkong serve --udp` listening there, is %q among its users with this udp_key, and are both clocks right within %v? The server does not answer a question that it cannot open", a.Name, Window)
	if a.unrelated > 0 {
		hint += fmt.Sprintf("; %d packets came that this key does not open or that answer other questions", a.unrelated)
	}
	return fmt.Errorf("%w from %s in %v: %w\n%s", ErrNoAnswer, a.Addr, after, cause, hint)
}
