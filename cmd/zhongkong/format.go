package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
)

// tokenVariable is the variable in which `show --format env` and exec give the token. It
// does not begin with ZHONGKONG_, because this program refuses such variables that are
// not its own.
const tokenVariable = "ACCESS_TOKEN"

// tokenFormat is a form in which a command prints a token.
type tokenFormat struct {
	name, usage string
	print       func(p program, r wire.Token) error
}

// tokenFormats are the values of --format; the first is the default.
func tokenFormats() []tokenFormat {
	return []tokenFormat{
		{"raw", "the token alone", program.printToken},
		{"json", "the whole record", func(p program, r wire.Token) error { return p.printJSON(r) }},
		{"env", tokenVariable + "=... quoted for a shell", func(p program, r wire.Token) error {
			return p.printLine(r, tokenVariable+"="+shellWord(r.AccessToken))
		}},
		{"header", "a header for curl -H @-", func(p program, r wire.Token) error {
			return p.printLine(r, "Authorization: Bearer "+r.AccessToken)
		}},
	}
}

// formatFlags are the options of a command that prints a token.
func formatFlags() []cli.Flag {
	var words []string
	for _, f := range tokenFormats() {
		words = append(words, f.name+" ("+f.usage+")")
	}
	return []cli.Flag{
		newChoiceFlag("format", "FORMAT", tokenFormats()[0].name, "how the token is printed: "+strings.Join(words, ", "), formatNames()),
		newSwitchFlag("json", "the same as --format json"),
	}
}

func formatNames() []string {
	var names []string
	for _, f := range tokenFormats() {
		names = append(names, f.name)
	}
	return names
}

// formatOf returns the form that a command line asks for.
func formatOf(c *cli.Context) (tokenFormat, error) {
	name := c.String("format")
	if c.Bool("json") {
		if c.IsSet("format") && name != "json" {
			return tokenFormat{}, usagef("--json and --format %s: give one of them", name)
		}
		name = "json"
	}
	for _, f := range tokenFormats() {
		if f.name == name {
			return f, nil
		}
	}
	return tokenFormat{}, usagef("--format: %q is none of %s", name, strings.Join(formatNames(), ", "))
}

// printToken prints a token alone.
func (p program) printToken(r wire.Token) error { return p.printLine(r, r.AccessToken) }

// printLine prints a line with the token of a record in it.
func (p program) printLine(r wire.Token, line string) error {
	if err := r.Check(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.stdout, line)
	return err
}
