package logging

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// limitLines lines of one kind are logged in each limitSpan. The rest is counted, and
// the count is logged at the end of the span.
const (
	limitLines = 20
	limitSpan  = time.Minute
)

// maxKinds bounds the memory for kinds. There are only a few: their texts come from the
// program, and their accounts from the configuration.
const maxKinds = 512

// PushRefused is the message of a push of an issuer that was refused. Anybody can send
// one: a Limit counts those to each value of the attribute "account" by themselves, so
// that forged pushes to one account do not hide what is wrong with those to another.
const PushRefused = "a push is not taken"

// Limit is a handler that bounds how often certain messages are logged: those that a
// client without credentials can cause.
type Limit struct {
	slog.Handler // the next one
	messages     []string
	shared       *counters
}

// counters is what a Limit shares with the handlers derived from it.
type counters struct {
	mu    sync.Mutex
	kinds map[kind]*span // guarded by mu
}

// kind identifies lines that are counted together.
type kind struct{ message, why, account string }

type span struct {
	end     time.Time
	lines   int // in all
	omitted int // of lines
}

// NewLimit returns a handler that passes everything on to next, except that of the
// records with one of these messages it passes only limitLines in limitSpan, for each
// message and each value of the attribute "why" or "outcome"; see also PushRefused.
func NewLimit(next slog.Handler, messages ...string) *Limit {
	return &Limit{next, messages, &counters{kinds: map[kind]*span{}}}
}

// WithAttrs returns a handler that counts together with l.
func (l *Limit) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Limit{l.Handler.WithAttrs(attrs), l.messages, l.shared}
}

// WithGroup returns a handler that counts together with l.
func (l *Limit) WithGroup(name string) slog.Handler {
	return &Limit{l.Handler.WithGroup(name), l.messages, l.shared}
}

// Handle passes the record on, or counts it.
func (l *Limit) Handle(ctx context.Context, r slog.Record) error {
	if slices.Contains(l.messages, r.Message) && !l.admit(r) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

func (l *Limit) admit(r slog.Record) bool {
	k, now := kindOf(r), time.Now()
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	s := l.shared.kinds[k]
	if s == nil || !now.Before(s.end) && s.omitted == 0 {
		if len(l.shared.kinds) >= maxKinds {
			clear(l.shared.kinds)
		}
		s = &span{end: now.Add(limitSpan)}
		l.shared.kinds[k] = s
	}
	s.lines++
	if s.lines <= limitLines {
		return true
	}
	s.omitted++
	if s.omitted == 1 {
		time.AfterFunc(s.end.Sub(now), func() { l.summarize(k, s, r.Level) })
	}
	return false
}

// summarize ends a span and logs how many lines were omitted in it.
func (l *Limit) summarize(k kind, s *span, level slog.Level) {
	l.shared.mu.Lock()
	omitted := s.omitted
	if l.shared.kinds[k] == s {
		delete(l.shared.kinds, k)
	}
	l.shared.mu.Unlock()
	r := slog.NewRecord(time.Now(), level, k.message+": more of these lines were omitted", 0)
	if k.account != "" {
		r.AddAttrs(slog.String("account", k.account))
	}
	r.AddAttrs(slog.String("why", k.why), slog.Int("lines", omitted), slog.Float64("within_seconds", limitSpan.Seconds()))
	_ = l.Handler.Handle(context.Background(), r) // as slog.Logger does
}

// kindOf leaves digits out of the reason, because waiting times differ in every line.
func kindOf(r slog.Record) kind {
	k := kind{message: r.Message}
	r.Attrs(func(a slog.Attr) bool {
		switch {
		case a.Key == "account" && r.Message == PushRefused:
			k.account = a.Value.String()
		case a.Key == "why", a.Key == "outcome":
			k.why = strings.Map(func(c rune) rune {
				if unicode.IsDigit(c) {
					return -1
				}
				return c
			}, a.Value.String())
		}
		return true
	})
	return k
}
