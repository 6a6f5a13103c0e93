package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func (p program) completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		ArgsUsage: "bash|zsh|fish",
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
	words := newCompletion(c.App)
	var script string
	switch shell := c.Args().First(); shell {
	case "bash":
		script = words.bash()
	case "zsh":
		script = words.zsh()
	case "fish":
		script = words.fish()
	default:
		return usagef("there is no completion for %q: give bash, zsh or fish", shell)
	}
	_, err := fmt.Fprint(p.stdout, script)
	return err
}

// completion is what can be completed. It is derived from the app, so that the scripts
// are always up to date.
type completion struct {
	globals  []option
	commands []command
}

type command struct {
	name, usage string
	options     []option
	words       []string // its arguments
}

type option struct {
	name, usage string
	value       bool
	choices     []string // the possible values
	file        bool     // the value is a file
}

func newCompletion(app *cli.App) completion {
	w := completion{globals: completionOptions(app.Flags)}
	for _, c := range app.VisibleCommands() {
		words := []string(nil)
		if c.Name == "completion" {
			words = []string{"bash", "zsh", "fish"}
		}
		w.commands = append(w.commands, command{c.Name, c.Usage, completionOptions(c.Flags), words})
	}
	return w
}

func completionOptions(flags []cli.Flag) []option {
	var all []option
	for _, f := range flags {
		if f.Names()[0] == "help" {
			continue // the library adds it at a time of its own
		}
		o := option{name: f.Names()[0], value: !isSwitch(f)}
		if d, ok := f.(cli.DocGenerationFlag); ok {
			usage, _, _ := strings.Cut(d.GetUsage(), " [$")
			o.usage, _, _ = strings.Cut(usage, ";")
		}
		switch o.name {
		case "log-level":
			o.choices = []string{"debug", "info", "warn", "error"}
		case "log-format":
			o.choices = []string{"text", "json"}
		case "source":
			o.choices = []string{"token", "stable_token"}
		case "config", "secret-file":
			o.file = true
		}
		all = append(all, o)
	}
	return append(all, option{name: "help", usage: "show help"})
}

func optionWords(options []option) string {
	var words []string
	for _, o := range options {
		words = append(words, dashes(o.name))
	}
	return strings.Join(words, " ")
}

// dashes returns an option's name as it is typed.
func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// every returns the options for which with is true, each name once.
func (w completion) every(with func(option) bool) []option {
	var all []option
	seen := map[string]bool{}
	add := func(options []option) {
		for _, o := range options {
			if with(o) && !seen[o.name] {
				seen[o.name] = true
				all = append(all, o)
			}
		}
	}
	add(w.globals)
	for _, c := range w.commands {
		add(c.options)
	}
	return all
}

func (w completion) bash() string {
	var b strings.Builder
	b.WriteString("# bash completion for zhongkong\n_zhongkong() {\n" +
		"  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= word i words=\n" +
		"  COMPREPLY=()\n  case $prev in\n")
	var plain []string
	for _, o := range w.every(func(o option) bool { return o.value }) {
		switch {
		case o.choices != nil:
			fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", dashes(o.name), strings.Join(o.choices, " "))
		case o.file:
			fmt.Fprintf(&b, "    %s) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", dashes(o.name))
		default:
			plain = append(plain, dashes(o.name))
		}
	}
	fmt.Fprintf(&b, "    %s) return ;;\n  esac\n", strings.Join(plain, "|"))
	fmt.Fprintf(&b, "  for ((i = 1; i < COMP_CWORD; i++)); do\n    word=${COMP_WORDS[i]}\n    case $word in\n"+
		"      %s) ((i++)) ;;\n      -*) ;;\n      *) command=$word; break ;;\n    esac\n  done\n", w.valuePattern())
	b.WriteString("  case $command in\n")
	names := []string{}
	for _, c := range w.commands {
		names = append(names, c.name)
		fmt.Fprintf(&b, "    %s) words='%s' ;;\n", c.name, strings.TrimSpace(strings.Join(c.words, " ")+" "+optionWords(c.options)))
	}
	fmt.Fprintf(&b, "    '') words='%s' ;;\n  esac\n", strings.Join(names, " "))
	fmt.Fprintf(&b, "  [[ $cur == -* ]] && words+=' %s'\n", optionWords(w.globals))
	b.WriteString("  [[ $cur != -* ]] && words=${words//-[^ ]*/}\n" +
		"  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _zhongkong zhongkong\n")
	return b.String()
}

// valuePattern matches, in a case of bash, the options that take the next word.
func (w completion) valuePattern() string {
	var words []string
	for _, o := range w.every(func(o option) bool { return o.value }) {
		words = append(words, dashes(o.name))
	}
	return strings.Join(words, "|")
}

func (w completion) zsh() string {
	var b strings.Builder
	b.WriteString("#compdef zhongkong\n# zsh completion for zhongkong\n_zhongkong() {\n  local context state state_descr line\n  typeset -A opt_args\n  _arguments -C \\\n")
	for _, o := range w.globals {
		fmt.Fprintf(&b, "    %s \\\n", o.zsh())
	}
	b.WriteString("    '1:command:->command' '*::argument:->argument'\n  case $state in\n  command)\n    local -a commands=(\n")
	for _, c := range w.commands {
		fmt.Fprintf(&b, "      %s\n", quote(c.name+":"+c.usage))
	}
	b.WriteString("    )\n    _describe command commands ;;\n  argument)\n    case $words[1] in\n")
	for _, c := range w.commands {
		fmt.Fprintf(&b, "    %s) _arguments", c.name)
		for _, o := range c.options {
			fmt.Fprintf(&b, " \\\n      %s", o.zsh())
		}
		if c.words != nil {
			fmt.Fprintf(&b, " \\\n      '1:word:(%s)'", strings.Join(c.words, " "))
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("    esac ;;\n  esac\n}\n" +
		"if [[ $funcstack[1] == _zhongkong ]]; then _zhongkong \"$@\"; else compdef _zhongkong zhongkong; fi\n")
	return b.String()
}

// zsh returns the option as an argument of _arguments.
func (o option) zsh() string {
	usage := strings.NewReplacer("[", "(", "]", ")", ":", " -").Replace(o.usage)
	spec := dashes(o.name)
	if o.value {
		spec += "="
	}
	spec += "[" + usage + "]"
	switch {
	case o.choices != nil:
		spec += ":value:(" + strings.Join(o.choices, " ") + ")"
	case o.file:
		spec += ":file:_files"
	case o.value:
		spec += ":value: "
	}
	return quote(spec)
}

func (w completion) fish() string {
	var b strings.Builder
	b.WriteString("# fish completion for zhongkong\ncomplete -c zhongkong -f\n")
	for _, c := range w.commands {
		fmt.Fprintf(&b, "complete -c zhongkong -n __fish_use_subcommand -a %s -d %s\n", c.name, quote(c.usage))
	}
	for _, o := range w.globals {
		b.WriteString("complete -c zhongkong" + o.fish() + "\n")
	}
	for _, c := range w.commands {
		for _, o := range c.options {
			fmt.Fprintf(&b, "complete -c zhongkong -n '__fish_seen_subcommand_from %s'%s\n", c.name, o.fish())
		}
		if c.words != nil {
			fmt.Fprintf(&b, "complete -c zhongkong -n '__fish_seen_subcommand_from %s' -a %s\n", c.name, quote(strings.Join(c.words, " ")))
		}
	}
	return b.String()
}

// fish returns the option as arguments of complete.
func (o option) fish() string {
	flag := " -l "
	if len(o.name) == 1 {
		flag = " -s "
	}
	s := flag + o.name
	switch {
	case o.choices != nil:
		s += " -x -a " + quote(strings.Join(o.choices, " "))
	case o.file:
		s += " -r -F"
	case o.value:
		s += " -x"
	}
	return s + " -d " + quote(o.usage)
}

// quote makes s one word for any of the shells.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
