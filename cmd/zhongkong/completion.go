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
	return script.Execute(p.stdout, newCommandTable(c.App))
}

// quote makes s one word for any of the shells.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
