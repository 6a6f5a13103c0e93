package main

import (
	_ "embed"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"
)

// manCommand prints the manual page, made of the command table like the completion
// scripts. Packages have it; it is not in the help.
func (p program) manCommand() *cli.Command {
	return &cli.Command{
		Name:   "man",
		Usage:  "print the manual page (roff)",
		Hidden: true,
		Action: func(c *cli.Context) error { return p.printManual(c.App) },
	}
}

//go:embed man.tmpl
var manTemplate string

// manual is what the page's template gets.
type manual struct {
	commandTable
	App           *cli.App
	Version, Date string
}

func (p program) printManual(app *cli.App) error {
	page, err := template.New("man").Funcs(template.FuncMap{"roff": roff}).Parse(manTemplate)
	if err != nil {
		return err
	}
	day, _, _ := strings.Cut(built().date, "T")
	return page.Execute(p.stdout, manual{newCommandTable(app), app, version(), day})
}

// roff escapes s for a line of text: backslashes and hyphens have meanings, and so has
// a dot or a quote that begins a line.
func roff(s string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
