package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shellOperator separates the commands of a line.
var shellOperator = regexp.MustCompile(`\|\|?|&&|[;()<>&]|\$\(`)

// commandLines returns the command lines of this program in a line of code: what
// follows its name where a command may be.
func commandLines(code string) (all [][]string) {
	code = codeComment.ReplaceAllLiteralString(code, "")
	for _, part := range shellOperator.Split(code, -1) {
		words := strings.Fields(strings.NewReplacer("go run ./cmd/zhongkong", "zhongkong", `"`, "", "'", "", "[", " ", "]", " ", "=/", "= /").Replace(part))
		for i, word := range words {
			if isProgram(word) && (i == 0 || strings.HasPrefix(word, "/") || precedesCommand(words[i-1])) {
				all = append(all, words[i+1:])
				break
			}
		}
	}
	return all
}

func isProgram(word string) bool {
	return slices.Contains([]string{"zhongkong", "./zhongkong", "/zhongkong", "/usr/bin/zhongkong"}, word)
}

// precedesCommand reports whether a command may follow this word of a command line.
func precedesCommand(word string) bool {
	return slices.Contains([]string{"$", "sudo", "exec", "--", "nohup", "env", "then", "do", "run:", "-u", "root"}, word) ||
		strings.Contains(word, "=") || strings.HasSuffix(word, "=")
}

// wrongCommand says what is wrong with a command line on a page: a command or an option
// that does not exist. Placeholders, such as COMMAND and …, are accepted.
func wrongCommand(words []string, app completion) error {
	options := map[string]bool{} // whether a value follows
	add := func(more []option) {
		for _, o := range more {
			options[o.Flag()] = o.Value
		}
	}
	add(app.Globals)
	options["--version"], options["-h"] = false, false
	var called *command
	for i := 0; i < len(words); i++ {
		word := words[i]
		flag, _, joined := strings.Cut(word, "=")
		switch {
		case word == "--" || strings.HasPrefix(word, "#"):
			return nil
		case word == "\\" || strings.ContainsAny(word, "…"):
		case strings.HasPrefix(word, "-") && len(word) > 1:
			value, found := options[flag]
			if !found && called == nil { // an option of the command may be before it
				value, found = optionOfAny(flag, app)
			}
			if !found {
				return fmt.Errorf("there is no option %s", flag)
			}
			if value && !joined {
				i++
			}
		case called == nil && word == strings.ToUpper(word): // a placeholder
			return nil
		case called == nil:
			at := slices.IndexFunc(app.Commands, func(c command) bool { return c.Name == word })
			if at < 0 {
				return fmt.Errorf("there is no command %s", word)
			}
			called = &app.Commands[at]
			add(called.Options)
		case len(called.Words) > 0 && word != strings.ToUpper(word):
			if !slices.Contains(called.Words, word) {
				return fmt.Errorf("%s takes one of %s, not %s", called.Name, called.Words, word)
			}
			called = &command{Name: called.Name}
		}
	}
	return nil
}

func optionOfAny(flag string, app completion) (value, found bool) {
	for _, c := range app.Commands {
		for _, o := range c.Options {
			if o.Flag() == flag {
				return o.Value, true
			}
		}
	}
	return false, false
}

// commands returns the command lines of this program on a page: in blocks of code, whose
// lines may be continued, and within sentences.
func (p markdown) commands() (all [][]string) {
	continued := ""
	for _, line := range p.lines {
		if !line.inside {
			for _, code := range inlineCode.FindAllString(line.text, -1) {
				all = append(all, commandLines(strings.Trim(code, "`"))...)
			}
			continue
		}
		text, isCommand := strings.CutPrefix(line.text, "$ ")
		if line.block == "text" || line.block == "console" && !isCommand && continued == "" {
			continue
		}
		continued += text
		if before, more := strings.CutSuffix(continued, `\`); more {
			continued = before
			continue
		}
		all = append(all, commandLines(continued)...)
		continued = ""
	}
	return all
}

func TestTheCommandsOnThePagesExist(t *testing.T) {
	app := newCompletion(program{}.app())
	for _, p := range allPages(t) {
		if !p.ofUsers() {
			continue
		}
		for _, words := range p.commands() {
			if err := wrongCommand(words, app); err != nil {
				t.Errorf("%s: zhongkong %s: %v", p.path, strings.Join(words, " "), err)
			}
		}
	}
}

func TestWrongCommandsOnPagesAreFound(t *testing.T) {
	app := newCompletion(program{}.app())
	for line, want := range map[string]string{
		"zhongkong shw wx1":                                    "there is no command shw",
		"A=b zhongkong show --jsn":                             "there is no option --jsn",
		"$ zhongkong --redis redis://h show --json wx1 | jq .": "",
		"(umask 077; zhongkong keygen | cut -d: -f2 >udp.key)": "",
		"docker compose exec zhongkong-1 /zhongkong doktor":    "there is no command doktor",
		"zhongkong grant eksport > f":                          "grant takes one of [export restore import status], not eksport",
		"zhongkong grant import NAME < FILE":                   "",
		"systemctl status zhongkong":                           "",
		"ExecStart=/usr/bin/zhongkong serv":                    "there is no command serv",
		"zhongkong status --log-level debug  # --wrong":        "",
	} {
		got := ""
		for _, words := range commandLines(line) {
			if err := wrongCommand(words, app); err != nil {
				got = err.Error()
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
