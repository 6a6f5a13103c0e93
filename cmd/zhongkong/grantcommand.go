package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// grantVerb is what `zhongkong grant` does with its first argument.
type grantVerb struct {
	name, args, usage string

	flags []string // of grantFlags, that it takes
	run   func(ctx context.Context, s *session, c *cli.Context, args []string) error
}

// grantVerbs returns the verbs in the order of the help. A table in place of the
// library's subcommands: see arrange.
func grantVerbs() []grantVerb {
	return []grantVerb{
		{"export", "[NAME...]", "print all grants, sealed, to stdout", []string{"key-file"}, exportGrants},
		{"restore", "", "read such an export from stdin, and put back what Redis does not have", []string{"key-file"}, restoreGrants},
		{"import", "[NAME]", "put in a refresh token that was obtained elsewhere, from stdin", []string{"expires-in"}, importGrant},
		{"status", "[NAME...]", "show the state of grants (no tokens)", []string{"json"}, grantStatus},
	}
}

// grantFlags returns the options of all verbs.
func grantFlags() []cli.Flag {
	return []cli.Flag{
		newValueFlag("expires-in", "D", "", "import: how long the grant lives if it is not used (default what the profile says)"),
		newSwitchFlag("json", "status: print a JSON array"),
		newValueFlag("key-file", "F", "", "export, restore: seal with the keys of this file in place of those of --seal-key-file"),
	}
}

// grantTimeout bounds a verb: thousands of grants take their time.
const grantTimeout = 10 * time.Minute

func (p program) grantCommand() *cli.Command {
	var verbs strings.Builder
	for _, v := range grantVerbs() {
		fmt.Fprintf(&verbs, "\n   %-26s %s", "grant "+strings.TrimSpace(v.name+" "+v.args), v.usage)
	}
	return &cli.Command{
		Name:        "grant",
		Usage:       "put in, export and restore refresh tokens and what else cannot be got again without a person",
		ArgsUsage:   "VERB",
		Description: grantDescription + "\n" + verbs.String(),
		Flags:       grantFlags(),
		Action:      p.bounded(grantTimeout, grant),
	}
}

const grantDescription = `   (umask 077; zhongkong grant export > grants.sealed)
   zhongkong --redis NEW grant restore < grants.sealed

An export is sealed: it can only be read with the key file. Stop the fleet first, and
never let two fleets use the same grants: most issuers take that for theft. All verbs
but import need only Redis and the key file, and no secret of an account.`

func grant(ctx context.Context, s *session, c *cli.Context) error {
	var names []string
	for _, v := range grantVerbs() {
		names = append(names, v.name)
		if v.name != c.Args().First() {
			continue
		}
		args := c.Args().Tail()
		if v.args == "" && len(args) > 0 {
			return usagef("grant %s takes no names: got %s", v.name, strings.Join(args, " "))
		}
		for _, f := range grantFlags() {
			if name := f.Names()[0]; c.IsSet(name) && !slices.Contains(v.flags, name) {
				return usagef("grant %s has no option --%s", v.name, name)
			}
		}
		return v.run(ctx, s, c, args)
	}
	if !c.Args().Present() {
		return usagef("no verb: write one of grant %s", strings.Join(names, ", grant "))
	}
	return usagef("grant has no verb %q: write one of %s", c.Args().First(), strings.Join(names, ", "))
}
