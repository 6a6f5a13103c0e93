package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
)

// flushWithin is how long the end waits for a log that nobody reads.
const flushWithin = time.Second

// strangersCause are the messages of lines that anybody can cause who reaches
// the port, as often as he likes.
var callerMessages = []string{"caller refused", "datagram refused", "request failed"}

// outliveStderr has all that a daemon says go through a queue, so that it goes
// on refreshing when what reads its log hangs or is gone.
func (s *session) queueLog() {
	// Where nobody asks for this signal, Go ends a program that writes to a
	// closed stderr. It is asked for to the end of the process: what comes
	// after the daemon may write, too.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	out := s.stderr
	s.queue = logging.NewWriter(out, func(dropped uint64) []byte {
		var line bytes.Buffer
		slog.New(newLogHandler(&line, s.cfg)).Warn(fmt.Sprintf("%d log lines were dropped", dropped), "why", "nobody read them in time")
		return line.Bytes()
	})
	s.stderr = s.queue
	s.log = slog.New(logging.NewLimit(newLogHandler(s.queue, s.cfg), callerMessages...))
}

// toTheEnd runs a daemon whose log is queued, and returns when the queue is
// empty, or soon after if it does not get so.
func (s *session) runDaemon(run func() error) error {
	defer s.queue.Close(flushWithin)
	err := run()
	if err == nil {
		return nil
	}
	s.complain(err) // here: whoever calls would write to stderr itself
	return fmt.Errorf("%w: %w", errReported, err)
}

func newLogHandler(out io.Writer, cfg *config.Config) slog.Handler {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == config.FormatJSON {
		options.ReplaceAttr = withUnit
		return slog.NewJSONHandler(jsonWriter{out}, options)
	}
	return slog.NewTextHandler(out, options)
}

// withUnit makes a number of a duration, for programs, and names its unit: the
// encoder would write nanoseconds and leave that to be guessed.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindDuration {
		return a
	}
	switch d := a.Value.Duration().Round(time.Microsecond); a.Key {
	case "took":
		return slog.Float64("took_ms", float64(d)/float64(time.Millisecond))
	default:
		return slog.Float64(a.Key+"_seconds", d.Seconds())
	}
}
