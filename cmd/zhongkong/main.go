// Zhongkong keeps the access tokens of WeChat accounts fresh for all processes that
// need them; the README says how.
package main

// The pages of the documentation that tests compare with the tables of the program.
//
//go:generate go test -count=1 . ./internal/config ./internal/metrics -run "ThePageOf|ThePagesHave|TheReference" -update

import (
	"context"
	"log" //nolint:depguard // libraries write to it; this turns it away
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // so that TZ works in a container without zoneinfo

	"github.com/redis/go-redis/v9"
)

func main() { os.Exit(mainCode()) }

// mainCode lets deferred functions run before the process exits.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal restores the default, so that a second one ends the process
	// at once.
	context.AfterFunc(ctx, stop)
	ctx, outlive := untilHangup(ctx)
	p := program{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, environ: os.Environ, replace: replaceProcess, outliveHangups: outlive,
		quiet: func(l *slog.Logger) {
			redis.SetLogger(redisLog{l})
			log.SetFlags(0)
			log.SetOutput(standardLog{l})
		},
	}
	return p.run(ctx, os.Args)
}
