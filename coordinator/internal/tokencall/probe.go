package tokencall

import (
	"context"
	"net/http"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/httpsource"
)

const (
	probeTimeout   = 10 * time.Second // of a probe, in addition to its context
	connectTimeout = 2 * time.Second
)

// Probe makes the request of a probe. Neither its error nor the texts that clean returns
// hold the secrets.
func Probe(
	ctx context.Context, rt http.RoundTripper, req *http.Request, secrets []coordinator.Token,
) (answer *httpsource.Response, clean func(string) string, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var hidden []string
	for _, s := range secrets {
		hidden = append(hidden, s.Reveal())
	}
	answer, err = httpsource.NewClient(rt, connectTimeout).Do(req.WithContext(ctx), httpsource.MaxBody+1)
	if err != nil {
		return nil, nil, httpsource.CleanError(err, hidden...)
	}
	return answer, func(text string) string { return httpsource.Scrub(text, hidden...) }, nil
}
