package datagram

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
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

	lookup lookup // nil: that of net.DefaultResolver
}

// lookup finds the addresses of a host, the preferred one first.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// The time between two questions doubles from the minimum to the maximum.
const (
	minRepeat = 250 * time.Millisecond
	maxRepeat = 2 * time.Second
)

// Ask returns the record of the account's token. It repeats its question until
// the token comes or ctx ends, so it blocks for as long as ctx allows if there is
// no server, or the server waits for a token itself or for its store. Where the host
// of Addr has several addresses, each question that stays without an answer goes to the
// next one. Ask returns at once an answer that waiting does not change, and if the network
// cannot be used at all. The error wraps an *AnswerError if the server answered,
// ErrNoAnswer if not. After the end of ctx it wraps ctx's error too.
func (c *Client) Ask(ctx context.Context, account string) (wire.Token, error) {
	began := time.Now()
	a := &exchange{Client: c, account: account, size: usualSize, nonces: make(map[string]bool)}
	if err := a.dial(ctx); err != nil {
		return wire.Token{}, fmt.Errorf("ask %s: %w", c.Addr, err)
	}
	defer a.close()
	wake := context.AfterFunc(ctx, a.wake)
	defer wake()

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
		case errors.Is(err, errSilence):
			if a.next(); a.at == 0 {
				pauseUntil(ctx, due) // all may have been refused at once: the server may be starting
			}
		case !errors.Is(err, errTooSmall):
			return wire.Token{}, fmt.Errorf("ask %s: %w", a.where(), err)
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

// The reasons to repeat the question.
var (
	errSilence  = errors.New("no answer from this address")
	errTooSmall = errors.New("the answer is larger than the question")
)

type exchange struct {
	*Client
	account   string
	conns     []net.Conn      // to each address of the host
	at        int             // the one that is asked
	asked     int             // so many of them have been asked
	size      int             // questions are padded to it
	nonces    map[string]bool // of all questions sent, because an answer may be late
	last      *AnswerError    // what the server answered last, nil: nothing
	unrelated int             // packets that were not an answer
	cause     error           // the last error of the network
}

// dial makes a socket for each address, because a socket of UDP without a peer does not
// hear that a port is closed.
func (a *exchange) dial(ctx context.Context) error {
	host, service, err := net.SplitHostPort(a.Addr)
	if err != nil {
		return err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return err
	}
	find := a.lookup
	if find == nil {
		find = net.DefaultResolver.LookupNetIP
	}
	addrs, err := find(ctx, "ip", cmp.Or(host, "localhost"))
	if err != nil {
		return err
	}
	var errs []error
	for _, addr := range addrs {
		to := netip.AddrPortFrom(addr.Unmap(), uint16(port))
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", to.String())
		if err != nil { // such as the one of IPv6 on a machine that has none
			errs = append(errs, err)
			continue
		}
		a.conns = append(a.conns, conn)
	}
	a.cause = errors.Join(errs...)
	if len(a.conns) == 0 {
		return a.cause
	}
	return nil
}

func (a *exchange) close() {
	for _, conn := range a.conns {
		_ = conn.Close()
	}
}

// wake ends the reading of an answer.
func (a *exchange) wake() {
	for _, conn := range a.conns {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// next turns to the next address.
func (a *exchange) next() { a.at = (a.at + 1) % len(a.conns) }

// where names the server, and the addresses of it that have been asked.
func (a *exchange) where() string {
	var asked []string
	for _, conn := range a.conns[:a.asked] {
		asked = append(asked, conn.RemoteAddr().String())
	}
	if len(asked) == 0 || asked[0] == a.Addr {
		return a.Addr
	}
	return fmt.Sprintf("%s (%s)", a.Addr, strings.Join(asked, ", "))
}

// attempt asks once and waits for an answer until the next question is due, or until it
// is known that nobody listens at this address.
func (a *exchange) attempt(ctx context.Context, due time.Time) (wire.Token, error) {
	nonce := rand.Text() // 128 bits
	datagram, err := question{a.account, time.Now(), nonce}.encode(a.Name, a.Key, a.size)
	if err != nil {
		return wire.Token{}, err
	}
	a.nonces[nonce] = true
	conn := a.conns[a.at]
	if err := conn.SetReadDeadline(due); err != nil {
		return wire.Token{}, err
	}
	if ctx.Err() != nil { // this deadline may have replaced the one that ctx set
		return wire.Token{}, errSilence
	}
	a.asked = max(a.asked, a.at+1)
	if _, err := conn.Write(datagram); err != nil {
		a.cause = err
		return wire.Token{}, errSilence
	}
	space := make([]byte, longest)
	for {
		n, err := conn.Read(space)
		if err != nil {
			if errors.Is(err, syscall.ECONNREFUSED) {
				a.cause = err
			}
			return wire.Token{}, errSilence
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
		return wire.Token{}, errTooSmall
	}
}

// noToken is the error of questions that were repeated until ended. Without any answer it
// lists what may be the reason. The server never says, so that a stranger learns nothing.
func (a *exchange) noToken(after time.Duration, ended error) error {
	if a.last != nil {
		return fmt.Errorf("ask %s: %w\nasked for %v: %w", a.where(), a.last, after, ended)
	}
	cause := ended
	if a.cause != nil {
		cause = errors.Join(a.cause, ended)
	}
	hint := fmt.Sprintf("is `zhongkong serve --udp` listening there, is %q among its users with this udp_key, and are both clocks right within %v? The server does not answer a question that it cannot open", a.Name, Window)
	if a.unrelated > 0 {
		hint += fmt.Sprintf("; %d packets came that this key does not open or that answer other questions", a.unrelated)
	}
	return fmt.Errorf("%w from %s in %v: %w\n%s", ErrNoAnswer, a.where(), after, cause, hint)
}
