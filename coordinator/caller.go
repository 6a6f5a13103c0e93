package coordinator

import "context"

// callerKey is the key of the caller's name in a context.
type callerKey struct{}

// WithCaller returns a context under which Refresh and Invalidate are asked for
// by the named caller. The store's log keeps the name with what comes of it, so
// that people find out who has tokens replaced. Of those who share a refresh,
// the first is named.
func WithCaller(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, callerKey{}, name)
}

// Caller returns the name that WithCaller put into ctx, "" if it did not, for a store's
// log.
func Caller(ctx context.Context) string {
	name, _ := ctx.Value(callerKey{}).(string)
	return name
}
