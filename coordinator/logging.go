package coordinator

import (
	"context"
	"time"
)

// seconds returns a duration as the log has it: a number, under a name that ends in
// _seconds. A handler would write a time.Duration as it likes, in JSON as nanoseconds.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }

// logContext returns the context for the log lines of what a call with ctx demands. A
// handler finds in it what its program has put there, such as the id of a request. It
// never ends.
func logContext(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
