package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"
)

// maxLine is far above the length of any token, refresh token, password or URL.
const maxLine = 64 << 10

// readLine reads a line from stdin, without its end, until ctx ends.
func (p program) readLine(ctx context.Context) (string, error) {
	line, err := await(ctx, func() (string, error) {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, maxLine)).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return line, err
	})
	if err != nil {
		return "", fmt.Errorf("read stdin: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
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
	return string(typed), nil
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
