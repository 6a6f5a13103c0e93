package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// commandTable has the commands and their options, for the completion scripts and the
// manual. It is derived from the app, so that they are always up to date.
type commandTable struct {
	Globals  []option
	Commands []command
}

type command struct {
	Name, Usage            string
	ArgsUsage, Description string
	Options                []option
	Words                  []string // its arguments
}

type option struct {
	Name, Usage string
	Full        string   // the usage with its variable
	Arg         string   // what stands for its value; "": none follows
	Default     string   // if the usage does not say it
	Choices     []string // the possible values
}

// Value reports whether a value follows.
func (o option) Value() bool { return o.Arg != "" }

// File reports whether the value is a file or a directory.
func (o option) File() bool { return o.Arg == "F" || o.Arg == "FILE" || o.Arg == "DIR" }

// Short reports whether the name is a single letter.
func (o option) Short() bool { return len(o.Name) == 1 }

// Flag returns the option as it is typed.
func (o option) Flag() string { return dashes(o.Name) }

// Label returns the usage as the text of an argument of zsh's _arguments.
func (o option) Label() string {
	return strings.NewReplacer("[", "(", "]", ")", ":", " -", "'", `'\''`).Replace(o.Usage)
}

func newCommandTable(app *cli.App) commandTable {
	t := commandTable{Globals: newOptions(app.Flags)}
	for _, c := range app.VisibleCommands() {
		words := []string(nil)
		switch c.Name {
		case "completion":
			words = strings.Split(completionShells, "|")
		case "grant":
			for _, v := range grantVerbs() {
				words = append(words, v.name)
			}
		}
		t.Commands = append(t.Commands, command{c.Name, c.Usage, c.ArgsUsage, c.Description, newOptions(c.Flags), words})
	}
	return t
}

func newOptions(flags []cli.Flag) []option {
	var all []option
	for _, f := range flags {
		if f.Names()[0] == "help" {
			continue // the library adds it at a time of its own
		}
		o := option{Name: f.Names()[0]}
		if v, ok := f.(*valueFlag); ok {
			o.Arg, o.Default, o.Choices = v.arg, v.Value, v.choices
		}
		if d, ok := f.(cli.DocGenerationFlag); ok {
			o.Full = d.GetUsage()
			usage, _, _ := strings.Cut(o.Full, " [$")
			o.Usage, _, _ = strings.Cut(usage, ";")
		}
		all = append(all, o)
	}
	return append(all, option{Name: "help", Usage: "show help", Full: "show help"})
}

// Valued returns the options that a value follows, each name once.
func (t commandTable) Valued() []option {
	all := slices.Clone(t.Globals)
	for _, c := range t.Commands {
		all = append(all, c.Options...)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(o option) bool {
		again := seen[o.Name]
		seen[o.Name] = true
		return again || !o.Value()
	})
}
