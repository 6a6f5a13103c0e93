package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

// errRevoked ends what is open in the name of a caller who was removed, or
// whose password or rights changed.
var errRevoked = errors.New("this caller was removed, or its password or its rights were changed")

// isRevoked reports whether what the caller was proved for has ended since.
// Whoever has waited asks before he hands anything out.
func isRevoked(c auth.Caller) bool {
	select {
	case <-c.Revoked():
		return true
	default:
		return false
	}
}

// wait returns the context of what the request waits for: it ends with the
// request, after d, or when the caller is revoked.
func (r *request) wait(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), d)
	if revoked := r.caller.Revoked(); revoked != nil {
		go func() { // ends with ctx, which the request ends
			select {
			case <-revoked:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}
