package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

// valueFlag is an option with a value. Its line in the help has the placeholder apart
// from the text, which the library's own repeats.
type valueFlag struct {
	*cli.StringFlag
	arg     string
	choices []string // all possible values; nil: there are many
}

// Names returns the name. The library's own looks for aliases with regular expressions,
// again for each look at a flag.
func (f *valueFlag) Names() []string { return []string{f.Name} }

// String returns the option's line in the help.
func (f *valueFlag) String() string {
	usage := f.Usage
	if f.Value != "" {
		usage += fmt.Sprintf(" (default %s)", f.Value)
	}
	return fmt.Sprintf("%s %s\t%s", dashes(f.Name), f.arg, usage)
}

func newValueFlag(name, arg, value, usage string) *valueFlag {
	return newChoiceFlag(name, arg, value, usage, nil)
}

func newChoiceFlag(name, arg, value, usage string, choices []string) *valueFlag {
	return &valueFlag{&cli.StringFlag{Name: name, Value: value, Usage: usage}, arg, choices}
}

type switchFlag struct{ *cli.BoolFlag }

// Names returns the name.
func (f *switchFlag) Names() []string { return []string{f.Name} }

// String returns the option's line in the help.
func (f *switchFlag) String() string { return fmt.Sprintf("%s\t%s", dashes(f.Name), f.Usage) }

func newSwitchFlag(name, usage string) *switchFlag {
	return &switchFlag{&cli.BoolFlag{Name: name, Usage: usage}}
}

func isSwitch(f cli.Flag) bool {
	switch f.(type) {
	case *switchFlag, *cli.BoolFlag: // the latter is --help
		return true
	}
	return false
}

// globalFlags returns the settings that every command takes. The config package
// merges them with the environment and the file, so the flags themselves have neither
// variable nor default.
func globalFlags() []cli.Flag {
	var flags []cli.Flag
	for _, s := range config.Settings() {
		if !s.ForServe {
			flags = append(flags, settingFlag(s))
		}
	}
	return append(flags, newSwitchFlag("version", "print the version"))
}

func settingFlag(s config.Setting) cli.Flag {
	usage := s.Help() + " [$" + s.Env() + "]"
	if s.Truth() {
		return newSwitchFlag(s.Flag(), usage)
	}
	return newChoiceFlag(s.Flag(), s.Arg, "", usage, s.Choices())
}

// given returns the settings of the command line, by key.
func given(c *cli.Context) map[string]string {
	flags, set := map[string]string{}, c.FlagNames() // IsSet looks at every flag each time
	for _, s := range config.Settings() {
		switch name := s.Flag(); {
		case !slices.Contains(set, name):
		case s.Truth():
			flags[s.Key] = strconv.FormatBool(c.Bool(name))
		default:
			flags[s.Key] = c.String(name)
		}
	}
	return flags
}

// dashes returns an option as it is typed.
func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
