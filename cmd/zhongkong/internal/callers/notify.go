package callers

import "context"

type notifyKey struct{}

// NotifyProved returns a context with which a Gate calls f whenever it proves a
// caller. Whoever accepts connections learns by it which ones are callers'.
func NotifyProved(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, notifyKey{}, f)
}

func notify(ctx context.Context) {
	if f, ok := ctx.Value(notifyKey{}).(func()); ok {
		f()
	}
}
