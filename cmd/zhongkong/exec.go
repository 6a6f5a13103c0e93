package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
)

func (p program) execCommand() *cli.Command {
	return &cli.Command{
		Name:      "exec",
		Usage:     "run a command with the current token in its environment",
		ArgsUsage: "[NAME] -- COMMAND [ARG...]",
		Description: `Waits for a token like show. The command replaces this process, so it gets the signals,
and its exit code is that of exec.

   zhongkong exec -- python3 send.py          # reads os.environ["` + tokenVariable + `"]
   zhongkong exec --env GH_TOKEN github -- gh api /installation/repositories

The command has the variables of this process, except for those that begin with
ZHONGKONG_, which may hold secrets. Its variable stays as it is when the token is
replaced; a program that runs for long reads a file instead: see sync.`,
		Flags: []cli.Flag{
			newValueFlag("env", "NAME", tokenVariable, "the variable that has the token"),
			waitFlag(),
		},
		Action: p.exec,
	}
}

// execArgs divides the arguments of exec, as arrange leaves them, at the --.
func execArgs(args []string) (names, command []string, err error) {
	at := slices.Index(args, "--")
	if at < 0 || at == len(args)-1 {
		return nil, nil, usagef("no command: write it after --, as in zhongkong exec -- env")
	}
	return args[:at], args[at+1:], nil
}

var variableName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`) })

func (p program) exec(c *cli.Context) error {
	variable := c.String("env")
	if !variableName().MatchString(variable) {
		return usagef("--env: %q is not the name of a variable: write letters, digits and _", variable)
	}
	names, command, err := execArgs(c.Args().Slice())
	if err != nil {
		return err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return usagef("the command %q cannot be run: %v", command[0], errors.Unwrap(err))
	}
	var token string
	err = p.awaiting(c, names, func(ctx context.Context, s *session, name string) error {
		return s.useCurrent(ctx, name, func(r wire.Token) error {
			token = r.AccessToken
			return r.Check()
		})
	})
	if err == nil {
		err = c.Context.Err() // a signal that came until now ends this process
	}
	if err != nil {
		return err
	}
	return p.become(path, command, p.environmentOf(variable, token))
}

// environmentOf returns the environment of a command: that of this process without what
// may be a secret of Zhongkong, and with the token.
func (p program) environmentOf(variable, token string) []string {
	var all []string
	if p.environ != nil {
		all = slices.DeleteFunc(p.environ(), func(v string) bool {
			return strings.HasPrefix(v, "ZHONGKONG_") || strings.HasPrefix(v, variable+"=")
		})
	}
	return append(all, variable+"="+token)
}

// become replaces this process by the command. Where a process cannot be replaced, it
// runs the command, passes on what ends it, and returns its exit code as an error.
func (p program) become(path string, command, environment []string) error {
	if p.replace != nil {
		return fmt.Errorf("%s: %w", command[0], p.replace(path, command, environment))
	}
	child := &exec.Cmd{Path: path, Args: command, Env: environment, Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, passedSignals()...)
	defer signal.Stop(signals)
	if err := child.Start(); err != nil {
		return fmt.Errorf("%s: %w", command[0], err)
	}
	ended := make(chan struct{})
	go func() { // ends with the child
		for {
			select {
			case s := <-signals:
				_ = child.Process.Signal(s) // Windows has sent it Ctrl-C already, and knows no others
			case <-ended:
				return
			}
		}
	}()
	err := child.Wait()
	close(ended)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &commandError{max(exit.ExitCode(), exitOther)}
	}
	return err
}

// commandError is the exit code, not 0, of a command that was run in place of this
// process.
type commandError struct{ code int }

func (e *commandError) Error() string { return fmt.Sprintf("exit code %d", e.code) }
func (e *commandError) Unwrap() error { return errReported }
