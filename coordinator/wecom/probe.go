package wecom

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

// Prober asks WeCom whether an access_token is valid. The zero value is ready to use.
type Prober struct {
	BaseURL   string            // as in Config
	Transport http.RoundTripper // as in Config
}

// probeTimeout limits a probe in addition to its context.
const probeTimeout = 10 * time.Second

// Probe calls get_api_domain_ip, which has no side effect, with the token of an App. It
// blocks for at most 10 s. Nil means that WeCom accepted the token and the address that
// the call came from. An *Error is the errcode that it answered; Rejected tells whether
// the token is the reason, and 60020 means that the address is not trusted. Any other
// error means that there was no answer. No error contains the token.
func (p Prober) Probe(ctx context.Context, token coordinator.Token) error {
	base, err := checkBase(p.BaseURL)
	if err != nil {
		return fmt.Errorf("wecom: probe: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	query := url.Values{"access_token": {token.Reveal()}}
	req, err := newRequest(ctx, http.MethodGet, base+"/cgi-bin/get_api_domain_ip?"+query.Encode(), nil)
	if err != nil {
		return errors.New("wecom: probe: the request cannot be made") // err holds the URL
	}
	resp, err := httpsource.NewClient(p.Transport, defaultConnectTimeout).Do(req, httpsource.MaxBody+1)
	if err != nil {
		return fmt.Errorf("wecom: probe: %w", httpsource.CleanError(err, token.Reveal()))
	}
	if err := gatewayError(resp); err != nil {
		return fmt.Errorf("wecom: probe: %w", err)
	}
	a, err := parseObject(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("wecom: probe: answered %w", err)
	case a.code != 0:
		return newError(a.code, httpsource.Scrub(a.message, token.Reveal()), resp.Status)
	}
	return nil
}
