package httpsource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

var (
	// ErrRejected is wrapped by the error of a probe whose token the issuer rejects.
	ErrRejected = errors.New("the issuer rejects the token")

	// ErrNoProbe is returned for an issuer whose description has no probe.
	ErrNoProbe = errors.New("httpsource: the issuer's description has no probe")
)

// Probe makes the issuer's probe, a call without side effects, with the token. It
// blocks for at most Config.Timeout. Nil means that the issuer did not reject the
// token; ErrRejected that it did; ErrNoProbe that there is none to make. Any other
// error means that there was no answer. No error holds a token.
func (s *Source) Probe(ctx context.Context, token coordinator.Token) error {
	i := s.issuer
	if i.Probe == (Probe{}) {
		return ErrNoProbe
	}
	target, err := address(i.Probe.URL, s.base, s.templateValues(""))
	if err != nil {
		return fmt.Errorf("httpsource: probe: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, i.Probe.Method, target.String(), nil)
	if err != nil {
		return fmt.Errorf("httpsource: probe: %w", errRequest)
	}
	i.Use.Apply(req, token.Reveal())
	secrets := append(slices.Clone(s.secrets), token.Reveal())
	answer, err := s.client.Do(req, MaxBody+1)
	switch {
	case err != nil:
		return fmt.Errorf("httpsource: probe: %w", CleanError(err, secrets...))
	case i.RejectsToken(answer):
		return fmt.Errorf("httpsource: probe: %w (HTTP status %d)", ErrRejected, answer.Status)
	case answer.Status/100 == 5:
		return fmt.Errorf("httpsource: probe: HTTP status %d", answer.Status)
	}
	return nil
}

// RejectsToken reports whether the answer to a business call rejects the token that
// the call carried, so that a newer one may succeed.
func (i *Issuer) RejectsToken(r *Response) bool {
	if slices.Contains(i.Use.RejectedStatuses, r.Status) {
		return true
	}
	a := i.Answer
	if i.Use.Code != "" {
		a.Code = i.Use.Code
	}
	root, err := parseAnswer(r.Body, "", a.Code)
	return err == nil && slices.Contains(i.Use.RejectedCodes, a.failure(root))
}

// PeekRejection is RejectsToken for an answer that is passed on, of whose body it reads only
// what may be a JSON object of at most 8 KiB: resp.Body can still be read from its start.
// inMemory says that reading it will not block.
func (i *Issuer) PeekRejection(resp *http.Response) (rejected, inMemory bool) {
	r := Response{Status: resp.StatusCode, Header: resp.Header}
	if len(i.Use.RejectedCodes) > 0 {
		r.Body, inMemory = source.Peek(resp)
	}
	return i.RejectsToken(&r), inMemory
}

// RejectsAs reports whether the answers of two issuers, which may be nil, reject tokens in
// the same way.
func (i *Issuer) RejectsAs(j *Issuer) bool {
	if i == nil || j == nil {
		return i == j
	}
	a, b := i.Answer, j.Answer
	return reflect.DeepEqual(i.Use, j.Use) && a.Code == b.Code && a.SubCode == b.SubCode && slices.Equal(a.Success, b.Success)
}
