package tokenfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// notifyWithin is how long a command may run. Then it is killed, with what it has
	// started.
	notifyWithin = 30 * time.Second

	// outputWithin is how long its output is waited for when it has ended.
	outputWithin = time.Second

	maxOutput  = 64 << 10 // that is kept
	maxExcerpt = 300      // that is put into an error
)

// passedOn are the variables that a command gets. The others of this process may hold
// secrets.
var passedOn = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
	"SystemRoot", "PATHEXT", // of Windows
}

// runCommand runs the command. An error has the end of what it has printed, unless a
// token is in that. tokens returns those that it may have printed; it is called when the
// command has ended, because the file may change meanwhile.
func (f File) runCommand(ctx context.Context, tokens func() []coordinator.Token) error {
	ctx, cancel := context.WithTimeout(ctx, notifyWithin)
	defer cancel()
	c := exec.CommandContext(ctx, f.Notify[0], f.Notify[1:]...) //nolint:gosec // the operator's command; no part of it is a token
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			c.Env = append(c.Env, name+"="+value)
		}
	}
	var out lastBytes
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = outputWithin
	killWhole(c)
	err := c.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has ended well, and something that it has started goes on
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it was killed, because it had not ended after %v", notifyWithin)
	}
	if said := out.excerpt(tokens()); said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// lastBytes keeps the last maxOutput bytes that are written to it.
type lastBytes struct{ b []byte }

func (l *lastBytes) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if extra := len(l.b) - maxOutput; extra > 0 {
		l.b = slices.Delete(l.b, 0, extra)
	}
	return len(p), nil
}

// excerpt returns the end of the output as one line.
func (l *lastBytes) excerpt(tokens []coordinator.Token) string {
	for _, t := range tokens {
		if s := t.Reveal(); bytes.Contains(l.b, []byte(s[:min(len(s), 12)])) {
			return "(its output is left out, because the token is in it)"
		}
	}
	text := strings.ToValidUTF8(strings.Join(strings.Fields(string(l.b)), " "), "?")
	if len(text) > maxExcerpt {
		text = "..." + strings.ToValidUTF8(text[len(text)-maxExcerpt:], "")
	}
	return text
}
