package datagram

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal/jwe"
)

// audit logs the packets that did not receive a token, at most one a second, so
// that a flood of packets does not become a flood of lines.
type audit struct {
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	last    time.Time
	skipped int
}

// refused logs a packet and returns its outcome.
func (a *audit) refused(o Outcome, from netip.AddrPort, name string, err error) Outcome {
	a.mu.Lock()
	now := time.Now()
	if now.Sub(a.last) < time.Second {
		a.skipped++
		a.mu.Unlock()
		return o
	}
	skipped := a.skipped
	a.last, a.skipped = now, 0
	a.mu.Unlock()

	fields := []any{"outcome", o, "from", from}
	if name != "" {
		fields = append(fields, "caller", jwe.Quote(name))
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	if skipped > 0 {
		fields = append(fields, "more_since_the_last_line", skipped)
	}
	a.log.Warn("datagram refused", fields...)
	return o
}
