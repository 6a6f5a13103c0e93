package main

import (
	"embed"
	"slices"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

// completionShells are the shells of which there is a template.
const completionShells = "bash|zsh|fish"

//go:embed completion
var completionTemplates embed.FS

func (p program) completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		ArgsUsage: completionShells,
		Description: `   source <(zhongkong completion bash)        # in ~/.bashrc
   source <(zhongkong completion zsh)         # in ~/.zshrc, after compinit
   zhongkong completion fish > ~/.config/fish/completions/zhongkong.fish

The script is self-contained: pressing TAB does not run zhongkong.`,
		Action: p.completion,
	}
}

func (p program) completion(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("no shell: give bash, zsh or fish, as in zhongkong completion bash")
	}
	shell := c.Args().First()
	if !slices.Contains(strings.Split(completionShells, "|"), shell) {
		return usagef("there is no completion for %q: give bash, zsh or fish", shell)
	}
	script, err := template.New(shell+".tmpl").Funcs(template.FuncMap{
		"join": strings.Join, "quote": quote,
		"flags": func(options []option, separator string) string {
			var words []string
			for _, o := range options {
				words = append(words, o.Flag())
			}
			return strings.Join(words, separator)
		},
	}).ParseFS(completionTemplates, "completion/"+shell+".tmpl")
	if err != nil {
		return err
	}
	return script.Execute(p.stdout, newCompletion(c.App))
}

// completion is what can be completed. It is derived from the app, so that the scripts
// are always up to date.
type completion struct {
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
	File        bool     // the value is a file
}

// Value reports whether a value follows.
func (o option) Value() bool { return o.Arg != "" }

// Short reports whether the name is a single letter.
func (o option) Short() bool { return len(o.Name) == 1 }

// Flag returns the option as it is typed.
func (o option) Flag() string { return dashes(o.Name) }

// Label returns the usage as the text of an argument of zsh's _arguments.
func (o option) Label() string {
	return strings.NewReplacer("[", "(", "]", ")", ":", " -", "'", `'\''`).Replace(o.Usage)
}

func newCompletion(app *cli.App) completion {
	w := completion{Globals: completionOptions(app.Flags)}
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
		w.Commands = append(w.Commands, command{c.Name, c.Usage, c.ArgsUsage, c.Description, completionOptions(c.Flags), words})
	}
	return w
}

func completionOptions(flags []cli.Flag) []option {
	var all []option
	for _, f := range flags {
		if f.Names()[0] == "help" {
			continue // the library adds it at a time of its own
		}
		o := option{Name: f.Names()[0]}
		if v, ok := f.(*valueFlag); ok {
			o.Arg, o.Default = v.arg, v.Value
		}
		if d, ok := f.(cli.DocGenerationFlag); ok {
			o.Full = d.GetUsage()
			usage, _, _ := strings.Cut(o.Full, " [$")
			o.Usage, _, _ = strings.Cut(usage, ";")
		}
		switch o.Name {
		case "log-level":
			o.Choices = []string{"debug", "info", "warn", "error"}
		case "log-format":
			o.Choices = []string{"text", "json"}
		case "source":
			o.Choices = []string{"token", "stable_token"}
		case "format":
			o.Choices = formatNames()
		case "config", "secret-file", "path":
			o.File = true
		}
		all = append(all, o)
	}
	return append(all, option{Name: "help", Usage: "show help", Full: "show help"})
}

// Valued returns the options that a value follows, each name once.
func (w completion) Valued() []option {
	all := slices.Clone(w.Globals)
	for _, c := range w.Commands {
		all = append(all, c.Options...)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(o option) bool {
		again := seen[o.Name]
		seen[o.Name] = true
		return again || !o.Value()
	})
}

// Free returns the options whose value can be anything.
func (w completion) Free() []option {
	return slices.DeleteFunc(w.Valued(), func(o option) bool { return o.Choices != nil || o.File })
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// quote makes s one word for any of the shells.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
