package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/requestid"
)

// flushWithin is how long the process waits at its end for a log that is not read.
const flushWithin = time.Second

// callerMessages are the messages of the lines that a client can cause as often as it
// sends requests.
var callerMessages = []string{
	"caller refused", "datagram refused", "request failed", // without credentials
	"call failed", "the upstream rejected the token", "call with the AppSecret",
	logging.PushRefused, unaskedBytes, omittedText,
}

// queueLog sends everything that a daemon writes to stderr through a queue, so that
// it goes on refreshing when the reader of its log hangs or is gone.
func (s *session) queueLog() {
	outliveReaders()
	out := s.stderr
	s.queue = logging.NewWriter(out, func(dropped uint64, err error) []byte {
		why := "the log was not read fast enough"
		if err != nil {
			why = "the log could not be written: " + err.Error()
		}
		var line bytes.Buffer
		slog.New(newLogHandler(&line, s.started)).Warn(fmt.Sprintf("%d log lines were dropped", dropped), "why", why)
		return line.Bytes()
	})
	s.stderr = s.queue
	s.log = slog.New(logging.NewLimit(newLogHandler(s.queue, s.cfg), callerMessages...))
}

// runDaemon runs a daemon whose log is queued, and waits at most flushWithin for the
// queue to empty.
func (s *session) runDaemon(run func() error) error {
	defer s.queue.Close(flushWithin)
	err := run()
	if err == nil {
		return nil
	}
	s.complain(err) // through the queue: the caller would write to stderr directly
	return fmt.Errorf("%w: %w", errReported, err)
}

const (
	unaskedBytes = "an HTTP server sent bytes that no request asked for"
	omittedText  = "a library wrote to Go's default log; the text is left out, because it may hold secrets"
)

// standardLog is the output of Go's default logger. net/http writes to it what a server
// sent after its answer, which may repeat the request with its token. So no text of it is
// logged.
type standardLog struct{ log *slog.Logger }

func (s standardLog) Write(text []byte) (int, error) {
	message := omittedText
	if bytes.HasPrefix(text, []byte("Unsolicited response")) {
		message = unaskedBytes
	}
	s.log.Warn(message)
	return len(text), nil
}

func newLogHandler(out io.Writer, cfg *config.Config) slog.Handler {
	var h slog.Handler = slog.NewTextHandler(out, &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: withoutExponent})
	if cfg.LogFormat == config.FormatJSON {
		h = slog.NewJSONHandler(jsonWriter{out}, &slog.HandlerOptions{Level: cfg.LogLevel})
	}
	return requestid.Handler{Handler: h}
}

// withoutExponent writes 0.00004 where the handler would write 4e-05, which many tools that
// compare numbers in lines of text do not read.
func withoutExponent(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindFloat64 {
		a.Value = slog.StringValue(strconv.FormatFloat(a.Value.Float64(), 'f', -1, 64))
	}
	return a
}
