package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// shellOperator separates the commands of a line.
var shellOperator = regexp.MustCompile(`\|\|?|&&|[;()<>&]|\$\(`)

// commandLines returns the command lines of this program in a line of code: what
// follows its name where a command may be.
func commandLines(code string) (all [][]string) {
	code = codeComment.ReplaceAllLiteralString(code, "")
	for _, part := range shellOperator.Split(code, -1) {
		words := strings.Fields(strings.NewReplacer("go run ./cmd/zhongkong", "zhongkong", `"`, "", "'", "", "[", " ", "]", " ", "=/", "= /").Replace(part))
		for i, word := range slices.Backward(words) { // docker exec NAME /zhongkong
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
	return slices.Contains([]string{"$", "sudo", "exec", "--", "nohup", "env", "then", "do", "run:", "-u", "root", "zhongkong"}, word) ||
		strings.Contains(word, "=") || strings.HasSuffix(word, "=")
}

// wrongCommand says what is wrong with a command line on a page: a command, a verb or an
// option that does not exist. Placeholders, such as COMMAND and …, are accepted.
func wrongCommand(words []string, app *cli.App) error {
	global, own := takesValue(app.Flags), map[string]bool{}
	for _, c := range app.Commands { // until the command is known: it may be behind its options
		maps.Copy(own, takesValue(c.Flags))
	}
	var called *cli.Command
	verbs := map[string][]string{"completion": strings.Split(completionShells, "|")}
	for _, v := range grantVerbs() {
		verbs["grant"] = append(verbs["grant"], v.name)
	}
	for i := 0; i < len(words); i++ {
		word := words[i]
		name, _, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
		placeholder := word == strings.ToUpper(word) || strings.Contains(word, "…")
		switch {
		case word == "--":
			return nil
		case len(word) > 1 && word[0] == '-':
			value, found := own[name]
			if !found {
				value, found = global[name]
			}
			if !found && !slices.Contains([]string{"help", "h", "version"}, name) {
				return fmt.Errorf("there is no option %s", word)
			}
			if value && !joined {
				i++
			}
		case called == nil && placeholder:
			return nil
		case called == nil:
			if called = app.Command(word); called == nil {
				return fmt.Errorf("there is no command %s", word)
			}
			own = takesValue(called.Flags)
		case len(verbs[called.Name]) > 0 && !placeholder:
			if !slices.Contains(verbs[called.Name], word) {
				return fmt.Errorf("%s takes one of %s, not %s", called.Name, verbs[called.Name], word)
			}
			verbs = nil // names follow
		}
	}
	return nil
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

// wrongUsage is the example of it on the page about exit codes.
var wrongUsage = []string{"show", "--colour"}

func TestTheCommandsOnThePagesExist(t *testing.T) {
	app := program{}.app()
	for _, p := range allPages(t) {
		if !p.ofUsers() {
			continue
		}
		for _, words := range p.commands() {
			if err := wrongCommand(words, app); err != nil && !slices.Equal(words, wrongUsage) {
				t.Errorf("%s: zhongkong %s: %v", p.path, strings.Join(words, " "), err)
			}
		}
	}
}

func TestWrongCommandsOnPagesAreFound(t *testing.T) {
	app := program{}.app()
	for line, want := range map[string]string{
		"zhongkong shw wx1":                                    "there is no command shw",
		"A=b zhongkong show --jsn":                             "there is no option --jsn",
		"$ zhongkong --redis redis://h show --json wx1 | jq .": "",
		"(umask 077; zhongkong keygen | cut -d: -f2 >udp.key)": "",
		"docker exec zhongkong /zhongkong statu":               "there is no command statu",
		"docker compose exec zhongkong-1 /zhongkong doktor":    "there is no command doktor",
		"zhongkong grant eksport > f":                          "grant takes one of [export restore import status], not eksport",
		"zhongkong grant import NAME < FILE":                   "",
		"systemctl status zhongkong":                           "",
		"sudo -u zhongkong zhongkong --config f logn crm":      "there is no command logn",
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
