package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

func (p program) passwdCommand() *cli.Command {
	return &cli.Command{
		Name:  "passwd",
		Usage: "print the hash of a password, for users: in the configuration",
		Description: `Asks for the password at the terminal, or reads one line of stdin. It is never
an argument: arguments show in process lists and in the shell's history.

   openssl rand -hex 24 | tee key | zhongkong passwd

Letters, digits and - . _ ~ are safe. WeChat's SDKs send the password as an AppSecret,
which is hexadecimal, and some paste it into a URL without escaping.`,
		Action: p.passwd,
	}
}

// shortPassword is the length below which a password can be guessed over the
// network in spite of the waits.
const shortPassword = 12

func (p program) passwd(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("passwd takes no password as an argument: type it when asked, or send it to stdin")
	}
	password, err := p.readPassword(c.Context)
	if err != nil {
		return err
	}
	hash, err := auth.Hash(password)
	if err != nil {
		return usagef("%v", err)
	}
	if len(password) < shortPassword {
		fmt.Fprintf(p.stderr, "warning: a password of %d characters can be guessed; programs can have long ones\n", len(password))
	}
	if strings.ContainsFunc(password, needsEscaping) {
		fmt.Fprintln(p.stderr, "warning: some SDKs paste the password into a URL as it is, where only letters, digits and - . _ ~ are safe: "+
			"if it is for one, use such a password")
	}
	_, err = fmt.Fprintln(p.stdout, hash)
	return err
}

// needsEscaping reports whether a character is none of RFC 3986's unreserved ones.
func needsEscaping(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._~", r):
		return false
	}
	return true
}

func (p program) readPassword(ctx context.Context) (string, error) {
	if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return p.askPassword(ctx, int(f.Fd()))
	}
	// Far more than any password may have.
	line, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	password := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if password == "" {
		return "", usagef("there is no password on stdin")
	}
	return password, nil
}

// askPassword asks twice, since nobody sees what he types.
func (p program) askPassword(ctx context.Context, terminal int) (string, error) {
	first, err := p.prompt(ctx, terminal, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := p.prompt(ctx, terminal, "The same again: ")
	switch {
	case err != nil:
		return "", err
	case first == "":
		return "", usagef("the password is empty")
	case first != second:
		return "", usagef("the two are not the same")
	}
	return first, nil
}

// prompt gives the terminal its echo back also when ctx ends: Ctrl-C must not
// leave a shell in which nobody sees what he types.
func (p program) prompt(ctx context.Context, terminal int, text string) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	fmt.Fprint(p.stderr, text)
	defer fmt.Fprintln(p.stderr)
	type result struct {
		typed []byte
		err   error
	}
	read := make(chan result, 1)
	go func() { // ends with a line, or with the process
		typed, err := term.ReadPassword(terminal)
		read <- result{typed, err}
	}()
	select {
	case r := <-read:
		if r.err != nil {
			return "", fmt.Errorf("read the password: %w", r.err)
		}
		return string(r.typed), nil
	case <-ctx.Done():
		_ = term.Restore(terminal, before)
		return "", fmt.Errorf("read the password: %w", ctx.Err())
	}
}
