package wechat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Prober asks WeChat whether a token is valid. The zero value is ready to use.
type Prober struct {
	BaseURL   string            // as in Config
	Transport http.RoundTripper // as in Config
}

// probeTimeout limits a probe in addition to its context.
const probeTimeout = 10 * time.Second

// Probe calls get_api_domain_ip, which has no side effect, with the token. It blocks
// for at most 10 s. Nil means that WeChat accepted the token. An *Error is the errcode
// that it answered; Rejected tells whether the token is the reason. Any other error
// means that there was no answer. No error contains the token.
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
		return errors.New("wechat: probe: the request cannot be made") // err holds the URL
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := httpsource.NewClient(p.Transport, defaultConnectTimeout).Do(req, httpsource.MaxBody+1)
	if err != nil {
		return fmt.Errorf("wechat: probe: %w", httpsource.CleanError(err, token.Reveal()))
	}
	a, err := parseAnswer(resp.Body)
	switch {
	case resp.Status != http.StatusOK:
		return fmt.Errorf("wechat: probe: HTTP status %d", resp.Status)
	case err != nil:
		return fmt.Errorf("wechat: probe: answered %w", err)
	case a.code != 0:
		return newError(a.code, httpsource.Scrub(a.message, token.Reveal()), resp.Status)
	}
	return nil
}

// Rejected reports whether err holds an *Error whose errcode rejects the token, not
// the call: 40001, 40014 or 42001. A newer token may succeed.
func Rejected(err error) bool {
	var e *Error
	return errors.As(err, &e) && IsTokenRejected(e.Code)
}
