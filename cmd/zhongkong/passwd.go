package main

import (
	"context"
	"fmt"
	"regexp"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/auth"
)

func (p program) passwdCommand() *cli.Command {
	return &cli.Command{
		Name:  "passwd",
		Usage: "print the hash of a password, or a new key and its hash, for users: in the configuration",
		Description: `With --key, makes a random key for a program and prints it, and on the second line its
hash. The key is not stored: give it to the program now. A key is checked at once,
whatever the load; the hash of a person's password takes a tenth of a second.

   zhongkong passwd --key

Without, asks for a person's password at the terminal, or reads one line of stdin. The
password is never an argument: process lists and the shell's history show arguments.

   openssl rand -hex 24 | tee password | zhongkong passwd

To replace a password or key without a gap, list both hashes, each on a line of its own
after "- ". Both are valid until you remove the old one.

Letters, digits and - . _ ~ are safe. WeChat's SDKs send the password as an AppSecret,
which is hexadecimal, and some put it into a URL without escaping.`,
		Flags:  []cli.Flag{newSwitchFlag("key", "make a random key, and print it and its hash")},
		Args:   true, // which passwd refuses itself
		Action: p.passwd,
	}
}

// shortPassword is the length below which a password can be guessed over the network
// in spite of the throttle.
const shortPassword = 12

func (p program) passwd(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("passwd takes no password as an argument: type it when asked, or send it to stdin")
	}
	if c.Bool("key") {
		return p.printKey()
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
		fmt.Fprintf(p.stderr, "warning: a password of %d characters can be guessed; use a longer one\n", len(password))
	}
	if !unreserved().MatchString(password) {
		fmt.Fprintln(p.stderr, "warning: some SDKs put the password into a URL unescaped, where only letters, digits and - . _ ~ are safe: "+
			"use only those in the password of an SDK")
	}
	_, err = fmt.Fprintln(p.stdout, hash)
	return err
}

// printKey never reads a password: the hash of a key is fast, and only a random key is
// safe behind it.
func (p program) printKey() error {
	key, hash := auth.NewKey()
	fmt.Fprintln(p.stderr, "the key, which is not shown again, and its hash for the user's password:")
	_, err := fmt.Fprintf(p.stdout, "%s\n%s\n", key, hash)
	return err
}

// unreserved matches text that needs no escaping in a URL (RFC 3986).
var unreserved = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._~-]*$`) })

func (p program) readPassword(ctx context.Context) (string, error) {
	if terminal, ok := p.terminal(); ok {
		return p.askPassword(ctx, terminal)
	}
	password, err := p.readLine(ctx)
	if err != nil {
		return "", err
	}
	if password == "" {
		return "", usagef("there is no password on stdin")
	}
	return password, nil
}

// askPassword asks twice, because the terminal does not show what is typed.
func (p program) askPassword(ctx context.Context, terminal int) (string, error) {
	first, err := p.prompt(ctx, terminal, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := p.prompt(ctx, terminal, "Repeat the password: ")
	switch {
	case err != nil:
		return "", err
	case first == "":
		return "", usagef("the password is empty")
	case first != second:
		return "", usagef("the two passwords differ")
	}
	return first, nil
}
