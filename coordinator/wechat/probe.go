package wechat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Prober asks WeChat whether a token is good. The zero Prober is ready.
type Prober struct {
	BaseURL   string            // as in Config
	Transport http.RoundTripper // as in Config
}

// probeTimeout bounds a probe besides its context.
const probeTimeout = 10 * time.Second

// Probe makes one cheap call that has no effect, get_api_domain_ip, with the
// token. Nil: WeChat accepted it. An *Error: it answered an errcode, and
// Rejected tells whether because of the token. Another error: it could not be
// asked. None holds the token.
func (p Prober) Probe(ctx context.Context, token coordinator.Token) error {
	base, err := checkBase(DefaultBaseURL)
	if p.BaseURL != "" {
		base, err = checkBase(p.BaseURL)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	address := base + "/cgi-bin/get_api_domain_ip?" + url.Values{tokenParameter: {token.Reveal()}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("wechat: the probe's request cannot be made") // err holds the URL
	}
	req.Header.Set("User-Agent", userAgent)
	transport, _ := quietTransport(p.Transport, defaultConnectTimeout)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("wechat: probe: %w", cleanError(err, token.Reveal()))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("wechat: probe: %w", cleanError(err, token.Reveal()))
	}
	a, err := parseAnswer(body)
	switch {
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("wechat: probe: HTTP status %d", resp.StatusCode)
	case err != nil:
		return fmt.Errorf("wechat: probe: answered %w", err)
	case a.code != 0:
		return newError(a.code, scrub(a.message, token.Reveal()), resp.StatusCode)
	}
	return nil
}

// Rejected reports whether err holds an *Error whose errcode rejects the token, not
// the call: 40001, 40014 or 42001. A newer token may succeed.
func Rejected(err error) bool {
	var e *Error
	return errors.As(err, &e) && rejectsToken(e.Code)
}
