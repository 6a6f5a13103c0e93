package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts a command line into the order that the flag package requires:
// global options, command, its options, names. Without it an option behind a name
// would silently become a name. An unknown option stays with the command, whose
// parser reports it.
func arrange(args []string, app *cli.App) []string {
	if len(args) == 0 {
		return args
	}
	a := arrangement{global: takesValue(app.Flags)}
	rest := args[1:]
	for len(rest) > 0 {
		rest = a.take(rest, app)
	}
	out := append([]string{args[0]}, a.globals...)
	if a.command != "" {
		out = append(out, a.command)
	}
	out = append(out, a.options...)
	if len(a.names) > 0 {
		out = append(append(out, "--"), a.names...)
	}
	return out
}

type arrangement struct {
	global, local map[string]bool // option :: whether it takes a value

	command                 string
	globals, options, names []string
}

// take sorts the first argument, with its value if it has one, and returns the
// rest.
func (a *arrangement) take(args []string, app *cli.App) []string {
	arg := args[0]
	switch {
	case arg == "--":
		if a.command != "exec" { // which divides its arguments there
			args = args[1:]
		}
		a.names = append(a.names, args...)
		return nil
	case len(arg) > 1 && arg[0] == '-':
		return a.option(args)
	case a.command == "":
		a.command = arg
		if c := app.Command(arg); c != nil {
			a.local = takesValue(c.Flags)
		}
	default:
		a.names = append(a.names, arg)
	}
	return args[1:]
}

func (a *arrangement) option(args []string) []string {
	name, _, joined := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
	n := 1
	value, local := a.local[name]
	dst := &a.options
	if !local {
		var global bool
		value, global = a.global[name]
		if global || a.command == "" {
			dst = &a.globals
		}
	}
	if value && !joined && len(args) > 1 {
		n = 2
	}
	*dst = append(*dst, args[:n]...)
	return args[n:]
}

// takesValue maps each option's names to whether a value follows it.
func takesValue(flags []cli.Flag) map[string]bool {
	m := map[string]bool{}
	for _, f := range flags {
		for _, name := range f.Names() {
			m[name] = !isSwitch(f)
		}
	}
	return m
}
