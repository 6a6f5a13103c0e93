package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

// Probe asks the issuer's endpoint without any credential, which has no side effect, and
// reports what would keep Fetch from working: no connection, no trust in the
// certificate, an address that is not that of an endpoint, or, if the source signs
// assertions, a clock that is off by more than 30 s. It blocks for as long as Fetch does
// at most. Nil does not mean that the issuer knows the client.
func (s *Source) Probe(ctx context.Context) error {
	m, err := s.issuer.message(time.Now(), coordinator.FetchRequest{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.timeout, defaultTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, nil)
	if err != nil {
		return errors.New("the request cannot be made") // err holds the URL
	}
	answer, err := s.client.Do(req, httpsource.MaxBody)
	if err != nil {
		return fmt.Errorf("%s: %w", s.endpoint, httpsource.CleanError(err))
	}
	off := m.sent.Sub(answer.Now()).Round(time.Second)
	switch {
	case answer.Status/100 == 3:
		return fmt.Errorf("%s redirects, which is not followed: set the address that it points to", s.endpoint)
	case answer.Status == http.StatusNotFound && !s.hidden:
		return fmt.Errorf("%s answers HTTP status 404: check the address of the token endpoint", s.endpoint)
	case answer.Status/100 == 5:
		return fmt.Errorf("%s answers HTTP status %d", s.endpoint, answer.Status)
	case m.proof && off.Abs() > tolerated:
		return fmt.Errorf("%s: %s", s.endpoint, clockText(off))
	}
	return nil
}

// tolerated is how far this machine's clock may be off.
const tolerated = 30 * time.Second

// clockText says that this machine's clock is ahead of the issuer's by off.
func clockText(off time.Duration) string {
	if off < 0 {
		return fmt.Sprintf("this machine's clock is %v behind the issuer's, which spoils assertions: set it", -off)
	}
	return fmt.Sprintf("this machine's clock is %v ahead of the issuer's, which spoils assertions: set it", off)
}
