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

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// ErrNoAnswer is what the error of Ask wraps when no answer came in time.
var ErrNoAnswer = errors.New("no answer")

// AnswerError is the server's answer when it has no token.
type AnswerError struct {
	Code    string // as in the JSON errors of the HTTP interface
	Message string
}

func (e *AnswerError) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

// Answer is a token with its record.
type Answer struct {
	Token coordinator.Token

	// Record is the JSON object that came, the token in it.
	Record json.RawMessage
}

// Client asks one server.
type Client struct {
	Addr string // HOST:PORT
	Name string // the caller's
	Key  []byte // its udp_key
}

// The times between two questions: the first is doubled up to the last.
const (
	firstRepeat = 250 * time.Millisecond
	lastRepeat  = 2 * time.Second
)

// Ask asks for the account's token, and asks again until an answer comes or
// ctx ends. Its error is an *AnswerError, or wraps ErrNoAnswer.
func (c *Client) Ask(ctx context.Context, account string) (Answer, error) {
	began := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", c.Addr)
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", c.Addr, err)
	}
	defer func() { _ = conn.Close() }()
	wake := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer wake()

	a := &asking{Client: c, account: account, conn: conn, size: usualSize, nonces: make(map[string]bool)}
	for repeat := firstRepeat; ; repeat = min(2*repeat, lastRepeat) {
		answer, err := a.once(ctx, repeat)
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return Answer{}, a.silence(time.Since(began), ctx.Err())
		case !errors.Is(err, errRepeat):
			return Answer{}, fmt.Errorf("ask %s: %w", c.Addr, err)
		}
	}
}

// errRepeat says that the question is to be asked again.
var errRepeat = errors.New("ask again")

// asking is one Ask under way.
type asking struct {
	*Client
	account string
	conn    net.Conn
	size    int             // what questions are padded to
	nonces  map[string]bool // of the questions asked; a late answer is one too
	strange int             // packets that were no answer
	cause   error           // what the network said
}

// once asks once and listens until it is time to ask again.
func (a *asking) once(ctx context.Context, wait time.Duration) (Answer, error) {
	nonce := rand.Text() // 128 bits
	datagram, err := question{a.account, time.Now(), nonce}.encode(a.Name, a.Key, a.size)
	if err != nil {
		return Answer{}, err
	}
	a.nonces[nonce] = true
	if err := a.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return Answer{}, err
	}
	if ctx.Err() != nil { // the deadline may have been set over that of ctx
		return Answer{}, ctx.Err()
	}
	if _, err := a.conn.Write(datagram); err != nil {
		a.cause = err
	}
	space := make([]byte, MaxSize+1)
	for {
		n, err := a.conn.Read(space)
		switch {
		case err == nil:
		case errors.Is(err, syscall.ECONNREFUSED):
			// The server may be starting: go on until it is time to repeat.
			a.cause = err
			continue
		default:
			return Answer{}, errRepeat
		}
		answer, err := a.read(space[:n])
		if errors.Is(err, errStrange) {
			a.strange++
			continue
		}
		return answer, err
	}
}

// errStrange says that a packet is not an answer to this question: anybody
// can send such, so it must not end the waiting.
var errStrange = errors.New("not an answer to this question")

func (a *asking) read(packet []byte) (Answer, error) {
	message, err := jwe.Parse(string(packet), "kid")
	if err != nil || message.Claim("kid") != a.Name {
		return Answer{}, errStrange
	}
	plain, err := message.Open(a.Key)
	if err != nil {
		return Answer{}, errStrange
	}
	var w wire
	if err := json.Unmarshal(plain, &w); err != nil {
		return Answer{}, errStrange
	}
	switch {
	case !w.isAnswer() || w.Nonce == nil || !a.nonces[*w.Nonce]:
		return Answer{}, errStrange
	case w.Error == nil && *w.AccessToken != "":
		return Answer{Token: coordinator.NewToken(*w.AccessToken), Record: plain}, nil
	case w.Error == nil:
		return Answer{}, errStrange
	case *w.Error != codeTooSmall:
		return Answer{}, &AnswerError{Code: *w.Error, Message: w.Message}
	case w.Size > MaxSize:
		return Answer{}, fmt.Errorf("the answer has %d bytes, more than a datagram may: ask over HTTP", w.Size)
	case w.Size <= a.size:
		return Answer{}, errStrange // a late word on an earlier, smaller question
	default:
		a.size = w.Size
		return Answer{}, errRepeat
	}
}

// silence explains why there is no answer. The server never says, so that
// strangers learn nothing.
func (a *asking) silence(after time.Duration, cause error) error {
	if a.cause != nil {
		cause = errors.Join(a.cause, cause)
	}
	hint := fmt.Sprintf("is `zhongkong serve --udp` listening there, is %q among its users with this udp_key, and are both clocks right within %v? A question that cannot be opened is never answered", a.Name, Window)
	if a.strange > 0 {
		hint += fmt.Sprintf("; %d packets came that this key does not open or that belong to other questions", a.strange)
	}
	return fmt.Errorf("%w from %s in %v: %w\n%s", ErrNoAnswer, a.Addr, after.Round(time.Millisecond), cause, hint)
}
