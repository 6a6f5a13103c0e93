// Zhongkong keeps the access tokens of WeChat accounts fresh for every process
// that needs them; the README says how.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // TZ counts in a container without zoneinfo, too

	"github.com/redis/go-redis/v9"
)

func main() { os.Exit(mainCode()) }

// mainCode lets deferred functions run before the process exits.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default comes back: a second one ends the
	// process at once.
	context.AfterFunc(ctx, stop)
	p := program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, environ: os.Environ,
		quiet: func(l redisLog) { redis.SetLogger(l) },
	}
	return p.run(ctx, os.Args)
}
