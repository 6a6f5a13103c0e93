package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

// maxLine is far above the length of any token, refresh token, password or URL.
const maxLine = 64 << 10

// terminalLine is the length, in bytes, that Linux cuts a line to that is typed or pasted at a
// terminal. It says nothing, so a line of this length may have been longer.
const terminalLine = 4095

// terminal returns the descriptor of stdin if that is a terminal.
func (p program) terminal() (descriptor int, ok bool) {
	f, ok := p.stdin.(*os.File)
	if !ok {
		return 0, false
	}
	descriptor = int(f.Fd())
	return descriptor, term.IsTerminal(descriptor)
}

// uncut returns a line that a terminal has sent, or an error if it may have been cut.
func uncut(line string) (string, error) {
	if len(line) >= terminalLine {
		return "", usagef("a terminal cuts a line to %d bytes, and this one has as many: send it from a file or by a pipe", terminalLine)
	}
	return line, nil
}

// readLine reads a line from stdin, without its end, until ctx ends.
func (p program) readLine(ctx context.Context) (string, error) {
	data, err := await(ctx, func() ([]byte, error) {
		data, err := bufio.NewReader(io.LimitReader(p.stdin, maxLine)).ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return data, err
	})
	line, err := stdinText(data, err)
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if _, ok := p.terminal(); ok {
		return uncut(line)
	}
	return line, nil
}

// readAll reads all that stdin has, 64 KiB at most, until ctx ends.
func (p program) readAll(ctx context.Context) (string, error) {
	return stdinText(await(ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(p.stdin, maxLine)) }))
}

// stdinText returns what was read from stdin as text.
func stdinText(data []byte, err error) (string, error) {
	if err != nil {
		return "", fmt.Errorf("read stdin: %w", err)
	}
	text, err := config.Text(data)
	if err != nil {
		return "", usagef("stdin %v", err)
	}
	return text, nil
}

// prompt reads a line from the terminal without an echo. It also restores the echo when
// ctx ends: after Ctrl-C the shell must show what is typed.
func (p program) prompt(ctx context.Context, terminal int, text string) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", fmt.Errorf("read the terminal: %w", err)
	}
	fmt.Fprint(p.stderr, text)
	defer fmt.Fprintln(p.stderr)
	typed, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(terminal) })
	if err != nil {
		_ = term.Restore(terminal, before)
		return "", fmt.Errorf("read the terminal: %w", err)
	}
	return uncut(string(typed))
}

// await returns what read returns, or why ctx has ended if that comes first. Then read goes
// on until it returns, or the process ends.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
