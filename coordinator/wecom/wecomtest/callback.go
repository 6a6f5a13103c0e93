package wecomtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

const (
	maxReply   = 1 << 16
	inProcess  = "http://callback.invalid/" // the URL of a Handler without one
	pushesFrom = "101.226.103.61"           // the source address in process
)

// Callback says where a suite's events are pushed to, and how they are encrypted. With
// neither a URL nor a Handler they are lost.
type Callback struct {
	URL     string       // by HTTP
	Handler http.Handler // in process, without a socket; then URL is only what it is told
	Token   string
	AESKey  string // the EncodingAESKey: 43 characters
}

// validate reports what is wrong with the callback's keys.
func (c Callback) validate() error {
	if c.URL == "" && c.Handler == nil {
		return nil
	}
	if _, err := c.codec("x"); err != nil {
		return fmt.Errorf("callback: %w", err)
	}
	return nil
}

// sealed is a push as it is sent.
type sealed struct {
	query  url.Values
	body   []byte
	forged bool
}

// post sends a push. An answer that takes longer than the timeout is none.
func (c Callback) post(ctx context.Context, m sealed, timeout time.Duration) (status int, answer string, err error) {
	if m.body == nil || c.URL == "" && c.Handler == nil {
		return 0, "", errors.New("wecomtest: the suite has no callback")
	}
	return c.call(ctx, http.MethodPost, m.query, m.body, timeout)
}

// codec returns what encrypts for this receiver.
func (c Callback) codec(receiver string) (*msgcrypt.Codec, error) {
	return msgcrypt.Config{Token: c.Token, EncodingAESKey: c.AESKey, Receivers: []string{receiver}}.Codec()
}

func (c Callback) call(ctx context.Context, method string, query url.Values, body []byte, timeout time.Duration) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address, err := url.Parse(cmp.Or(c.URL, inProcess))
	if err != nil {
		return 0, "", err
	}
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, address.String(), strings.NewReader(string(body)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "text/xml")
	transport := http.DefaultTransport
	if c.Handler != nil {
		transport = simulator.Transport{Handler: c.Handler, From: pushesFrom}
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	return resp.StatusCode, string(read), err
}

// CheckURL asks the callback to prove itself, as WeCom does when it is saved in the
// console: it must decrypt a text and answer it within a second. The text is for the
// provider, unlike the events, which are for the suite.
func (s *Server) CheckURL(ctx context.Context, suiteID string) error {
	var c Callback
	err := s.changeSuite(suiteID, func(u *suite) error { c = u.Callback; return nil })
	if err != nil {
		return err
	}
	return s.check(ctx, suiteID, c)
}

// SetCallback changes where a suite's events go and their keys, as the console does: it
// first asks the new callback to prove itself, see CheckURL.
func (s *Server) SetCallback(ctx context.Context, suiteID string, c Callback) error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("wecomtest: suite %s: %w", suiteID, err)
	}
	if err := s.check(ctx, suiteID, c); err != nil {
		return err
	}
	return s.changeSuite(suiteID, func(u *suite) error {
		if u.Callback.AESKey != c.AESKey {
			u.previousKey = u.Callback.AESKey
		}
		u.Callback = c
		return nil
	})
}

func (s *Server) check(ctx context.Context, suiteID string, c Callback) error {
	var provider string
	err := s.changeSuite(suiteID, func(u *suite) error { provider = u.Provider; return nil })
	if err != nil {
		return err
	}
	codec, err := c.codec(provider)
	if err != nil {
		return err
	}
	const word = "6119231170310562"
	echo := codec.Seal([]byte(word), s.Now())
	parameters := echo.Query()
	parameters.Set("echostr", echo.Encrypt)
	status, answer, err := c.call(ctx, http.MethodGet, parameters, nil, s.Knobs().PushTimeout)
	switch {
	case err != nil:
		return fmt.Errorf("wecomtest: the callback does not answer: %w", err)
	case status != http.StatusOK || answer != word:
		return fmt.Errorf("wecomtest: the callback answers %d %q, want 200 and the text of echostr", status, answer)
	}
	return nil
}
