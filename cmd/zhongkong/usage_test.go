package main

import (
	"iter"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestWrongUsageIsSaidAndExitsWith2(t *testing.T) {
	b := newBench(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":                   {[]string{"shw"}, `no command "shw": did you mean "show"?`},
		"an unknown command far off":           {[]string{"frobnicate"}, "no command"},
		"an unknown option":                    {[]string{"show", "--colour"}, "unknown option --colour (see `zhongkong show --help`)"},
		"an unknown global option":             {[]string{"--colour", "show"}, "unknown option --colour"},
		"a duration without a unit":            {[]string{"show", "--wait", "5"}, `--wait: "5" is not a duration`},
		"an option without its value":          {[]string{"show", "--wait"}, "--wait needs a value (see `zhongkong show --help`)"},
		"an option that is mistyped":           {[]string{"serve", "--sandbok"}, "unknown option --sandbok: did you mean --sandbox?"},
		"a global option that is mistyped":     {[]string{"show", "--rediss", "u"}, "unknown option --rediss: did you mean --redis?"},
		"an option with a line in its place":   {[]string{"serve", "--tls_cert", "f"}, "did you mean --tls-cert?"},
		"an option before the command":         {[]string{"--prefx", "show"}, "did you mean --prefix?"},
		"a command of which letters are twice": {[]string{"sttatus"}, `did you mean "status"?`},
		"a name that cannot be one":            {[]string{"show", "wx{1}"}, "must not hold"},
		"names for serve":                      {[]string{"serve", "wx1"}, "serve takes no names"},
		"a number that is none":                {[]string{"history", "-n", "few"}, "-n:"},
		"a shell that is none":                 {[]string{"completion", "tcsh"}, "bash, zsh or fish"},
		"no shell":                             {[]string{"completion"}, "no shell: give bash, zsh or fish"},
		"a broken setting":                     {[]string{"--log-level", "loud", "show"}, `--log-level: "loud"`},
		"a missing file":                       {[]string{"--config", "/nowhere.yaml", "status"}, "/nowhere.yaml: cannot read"},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.run(test.args...)
			if r.code != exitUsage || !strings.Contains(r.stderr, test.want) {
				t.Errorf("exit code %d, want %d and %q in\n%s", r.code, exitUsage, test.want, r.stderr)
			}
			if r.stdout != "" {
				t.Errorf("stdout is for data: %q", r.stdout)
			}
		})
	}
}

func TestOptionsMayStandAnywhere(t *testing.T) {
	app := program{}.app()
	for in, want := range map[string]string{
		"show wx1 --json":                       "show --json -- wx1",
		"show --redis u wx1 --wait 2s":          "--redis u show --wait 2s -- wx1",
		"--prefix=p show wx1":                   "--prefix=p show -- wx1",
		"refresh --if-token - wx1":              "refresh --if-token - -- wx1",
		"status a b --json --log-level debug c": "--log-level debug status --json -- a b c",
		"show -- --json":                        "show -- --json",
		"show --colour wx1":                     "show --colour -- wx1",
		"":                                      "",
	} {
		got := arrange(append([]string{"zhongkong"}, strings.Fields(in)...), app)
		if want := append([]string{"zhongkong"}, strings.Fields(want)...); !slices.Equal(got, want) {
			t.Errorf("arrange(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestHelpAndVersionAreData(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{{}, {"--help"}, {"show", "--help"}, {"--version"}, {"version"}} {
		if out := b.must(args...); !strings.Contains(out, "zhongkong") {
			t.Errorf("zhongkong %v = %q", args, out)
		}
	}
	help := b.must("--help")
	for _, variable := range []string{"ZHONGKONG_REDIS", "ZHONGKONG_SECRET_FILE", "ZHONGKONG_LOG_FORMAT"} {
		if !strings.Contains(help, variable) {
			t.Errorf("the help does not name %s", variable)
		}
	}
}

func TestASecretAsAnArgumentIsWarnedOf(t *testing.T) {
	b := newBench(t).with("ZHONGKONG_SECRET", "")
	r := b.run("show", "--secret", secret)
	if r.code != exitDone || !strings.Contains(r.stderr, "process list") || strings.Contains(r.stderr, secret) {
		t.Errorf("show --secret = %d, %s", r.code, r.stderr)
	}
}

// completes returns what bash offers for a line. The last word is what is being typed, and
// may be empty. A file named "file" is the only one there is.
func (b *bench) completes(line string) string {
	b.t.Helper()
	script := b.must("completion", "bash") + `
zhongkong() { echo RAN; }
compopt() { :; } # is for a completion that readline has asked for
t() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _zhongkong; echo "${COMPREPLY[*]}"; }
t '` + strings.ReplaceAll(line, " ", "' '") + "'"
	bash := exec.CommandContext(b.t.Context(), "bash", "-c", script)
	bash.Dir = filepath.Dir(b.file("file", ""))
	out, err := bash.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%q: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestCompletionScriptsCompleteWithoutRunningUs(t *testing.T) {
	b := newBench(t)
	for line, want := range map[string]string{
		"zhongkong ":              "serve show refresh status watch history doctor",
		"zhongkong s":             "serve show status sync sandbox",
		"zhongkong show --j":      "--json",
		"zhongkong --redis x hi":  "history",
		"zhongkong --log-format ": "text json",
		"zhongkong completion ":   "bash zsh fish",
		"zhongkong show ":         "",
		"zhongkong serve --sand":  "--sandbox",
		"zhongkong show --confi":  "--config",
		"zhongkong show --wait ":  "",
	} {
		if got := b.completes(line); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%q completes to %q, want %q", line, got, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		script := b.must("completion", shell)
		for _, word := range []string{"doctor", "if-token", "stable_token"} {
			if !strings.Contains(script, word) {
				t.Errorf("the %s script lacks %q", shell, word)
			}
		}
	}
}

// TestCompletionOffersFilesForEachOptionThatTakesOne finds these options by their help.
func TestCompletionOffersFilesForEachOptionThatTakesOne(t *testing.T) {
	b := newBench(t)
	isFile := regexp.MustCompile(`^\S+ \S+\t(\w+: )?(PEM |YAML |the )?(file|directory)\b|--key-file`)
	found := 0
	for command, f := range allOptions() {
		if !isFile.MatchString(f.String()) {
			continue
		}
		found++
		if got := b.completes("zhongkong " + command + " " + dashes(f.Names()[0]) + " "); got != "file" {
			t.Errorf("%s %s completes to %q, want a file", command, f.Names()[0], got)
		}
	}
	if found < 15 {
		t.Errorf("%d options take a file", found)
	}
}

// TestWhatCompletionOffersIsAccepted gives each choice to its command.
func TestWhatCompletionOffersIsAccepted(t *testing.T) {
	b := newBench(t)
	b.must("show")
	line, _ := b.sealKey()
	b = b.with("ZHONGKONG_LOG_LEVEL", "", "ZHONGKONG_SEAL_KEY_FILE", b.file("seal.keys", line))
	for command, args := range map[string][]string{
		"check --seal": nil, "check --log-level": nil, "check --log-format": nil, "check --source": nil,
		"show --format": {"--seal", "prefer"}, "refresh --format": {"--seal", "prefer"},
		"sync --format": {"--once", "--seal", "prefer", "--path", filepath.Join(t.TempDir(), "token"), appID},
	} {
		offered := strings.Fields(b.completes("zhongkong " + command + " "))
		if len(offered) < 2 {
			t.Errorf("%s completes to %q", command, offered)
		}
		for _, choice := range offered {
			b.must(append(append(strings.Fields(command), choice), args...)...)
		}
	}
}

// allOptions returns the options of all commands; the global ones are given to check.
func allOptions() iter.Seq2[string, cli.Flag] {
	return func(yield func(string, cli.Flag) bool) {
		app := program{}.app()
		commands := append(app.VisibleCommands(), &cli.Command{Name: "check", Flags: app.Flags})
		for _, c := range commands {
			for _, f := range c.Flags {
				if !yield(c.Name, f) {
					return
				}
			}
		}
	}
}
