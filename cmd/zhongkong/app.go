package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
)

// program is one run of zhongkong with everything outside that it uses, so that a
// test can run it in its own process.
type program struct {
	stdin  io.Reader
	stdout io.Writer // data only
	stderr io.Writer // messages and logs
	env    func(string) string

	// environ lists all variables, so that unknown ones are found. Nil: no check.
	environ func() []string

	// self is the name by which this program was called, for commands that it prints.
	self string

	// quiet gives go-redis and Go's default log a logger in place of stderr. Both are
	// global to the process, so tests leave it nil.
	quiet func(*slog.Logger)

	// replace replaces this process by a command, as syscall.Exec does. Nil: the command
	// is run as a child.
	replace func(path string, command, environment []string) error

	// outliveHangups makes SIGHUP no longer end the context of run. Nil: it never does.
	outliveHangups func()

	// embeddedRedis is the address of serve's own Redis; "": embeddedAddr.
	embeddedRedis string
}

// The exit codes scripts rely on.
const (
	exitDone        = 0
	exitOther       = 1
	exitUsage       = 2
	exitNoToken     = 3
	exitRefused     = 4
	exitUnreachable = 5
	exitThrottled   = 6
)

// run executes the command line and returns the exit code.
func (p program) run(ctx context.Context, args []string) int {
	if len(args) > 0 {
		p.self = calledAs(args[0])
	}
	app := p.app()
	err := app.RunContext(ctx, arrange(args, app))
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, errReported) {
		p.complain(err)
	}
	return exitCode(err)
}

func (p program) app() *cli.App {
	app := &cli.App{
		Name:            "zhongkong",
		Usage:           "one process refreshes WeChat's access token, every other has it at once",
		UsageText:       "zhongkong [global options] command [options] [NAME...]",
		Description:     appDescription,
		Flags:           globalFlags(),
		Writer:          p.stdout,
		ErrWriter:       p.stderr,
		HideHelpCommand: true,
		HideVersion:     true,
		Action:          p.noCommand,
		OnUsageError:    usageProblem,
		ExitErrHandler:  func(*cli.Context, error) {}, // run maps errors to codes
		Commands: []*cli.Command{
			p.serveCommand(), p.showCommand(), p.refreshCommand(),
			p.statusCommand(), p.watchCommand(), p.historyCommand(), p.doctorCommand(), p.checkCommand(), p.healthCommand(), p.grantCommand(), p.loginCommand(),
			p.execCommand(), p.syncCommand(), p.askCommand(), p.keygenCommand(), p.passwdCommand(),
			p.sandboxCommand(), p.completionCommand(), p.manCommand(), p.versionCommand(),
		},
	}
	for _, c := range app.Commands {
		c.OnUsageError = usageProblem
		c.HideHelpCommand = true
		c.Action = p.validated(c.Action)
	}
	return app
}

// variables are those that are not settings. The last one is for scripts that call
// this program: its path.
var variables = []string{envUsers, envAskUser, envAskKey, envAskKeyFile, envIfToken, "ZHONGKONG_BIN"}

// validated makes an action refuse unknown variables before it runs, and arguments if
// the command has none.
func (p program) validated(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Command.ArgsUsage == "" && !c.Command.Args && c.Args().Present() {
			return usagef("%s takes no names: got %s", c.Command.Name, strings.Join(c.Args().Slice(), " "))
		}
		if err := config.CheckVariables(p.input(c), variables...); err != nil {
			return &configError{err}
		}
		return action(c)
	}
}

// calledAs returns what to type to call this program again, given its argument 0.
func calledAs(name string) string {
	if strings.Contains(filepath.ToSlash(name), "/go-build") {
		return "go run ./cmd/zhongkong"
	}
	return shellWord(name)
}

const appDescription = `NAME is an account's name: its AppID unless the configuration says otherwise.
It may be left out when there is only one account.

To try it without Redis or an account:   zhongkong serve --sandbox
                   in another terminal:   zhongkong show

Exit codes: 0 done, 1 failure, 2 wrong usage or configuration, 3 no token in time,
4 the issuer refused, 5 Redis unreachable, 6 throttled.`

// usageError is a mistake on the command line; exit code 2.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// configError is a configuration that was refused; exit code 2.
type configError struct{ err error }

func (e *configError) Error() string { return e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// errReported is wrapped by errors that were printed already.
var errReported = errors.New("reported")

func usageProblem(c *cli.Context, err error, _ bool) error {
	text := err.Error()
	if name, found := strings.CutPrefix(text, "flag provided but not defined: -"); found {
		name = strings.TrimPrefix(name, "-")
		text = "unknown option " + dashes(name)
		if nearest := config.Nearest(name, optionsOf(c)); nearest != "" {
			text += ": did you mean " + dashes(nearest) + "?"
		}
	} else if name, found := strings.CutPrefix(text, "flag needs an argument: -"); found {
		text = dashes(strings.TrimPrefix(name, "-")) + " needs a value"
	}
	return usagef("%s (see `%s --help`)", text, strings.TrimSpace(c.App.Name+" "+commandName(c)))
}

func optionsOf(c *cli.Context) []string {
	flags := c.App.Flags
	if c.Command != nil {
		flags = append(slices.Clone(flags), c.Command.Flags...)
	}
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return names
}

func commandName(c *cli.Context) string {
	if c.Command == nil || c.Command.Name == c.App.Name {
		return ""
	}
	return c.Command.Name
}

// noCommand is the root's action, which runs when no command matches.
func (p program) noCommand(c *cli.Context) error {
	if c.Bool("version") {
		return p.printVersion()
	}
	if !c.Args().Present() {
		return cli.ShowAppHelp(c)
	}
	name := c.Args().First()
	var names []string
	for _, command := range c.App.Commands {
		names = append(names, command.Name)
	}
	if nearest := config.Nearest(name, names); nearest != "" {
		return usagef("there is no command %q: did you mean %q?", name, nearest)
	}
	return usagef("there is no command %q (see `zhongkong --help`)", name)
}

// exitCode is the only place that maps errors to exit codes.
func exitCode(err error) int {
	if command, ok := errors.AsType[*commandError](err); ok {
		return command.code
	}
	switch {
	case err == nil:
		return exitDone
	case isA[*usageError](err), isA[*configError](err), isA[*noAccountsError](err), isA[*unknownAccountError](err):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitOther // interrupted
	case isA[*coordinator.RefusedError](err):
		return exitRefused
	case errors.Is(err, coordinator.ErrUnreachable):
		return exitUnreachable
	case isA[*coordinator.GrantError](err) && !errors.Is(err, coordinator.ErrNoToken):
		return exitThrottled // it says when the refresh token can be used
	case isA[*coordinator.QuotaError](err), isA[*coordinator.ThrottledError](err) && !errors.Is(err, coordinator.ErrNoToken):
		return exitThrottled
	case errors.Is(err, coordinator.ErrNoToken):
		return exitNoToken
	default:
		return exitOther
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// complain prints an error on stderr; its lines after the first are indented.
func (p program) complain(err error) {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	for i := range lines {
		lines[i] = escape(lines[i])
	}
	fmt.Fprintf(p.stderr, "zhongkong: %s\n", strings.Join(lines, "\n  "))
}
