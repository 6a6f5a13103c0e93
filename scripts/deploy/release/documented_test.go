package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// token matches what show prints, alone.
var token = regexp.MustCompile(`^90_[\w-]{100,}\n$`)

// newcomer returns the commands below a marker, <!-- newcomer: WHAT -->, in the README,
// or where it has none on the page about packages. In both languages they are the same.
func newcomer(t *testing.T, what string) []string {
	t.Helper()
	english, chinese := commands(t, what, ".md"), commands(t, what, ".zh-CN.md")
	if len(english) == 0 || !slices.Equal(english, chinese) {
		t.Fatalf("the commands of a newcomer with the %s are %q in English and %q in Chinese, and they must be the same", what, english, chinese)
	}
	return english
}

func commands(t *testing.T, what, suffix string) []string {
	t.Helper()
	for _, page := range []string{"README", "cmd/zhongkong/docs/packages"} {
		text, err := os.ReadFile("../../../" + page + suffix)
		if err != nil {
			t.Fatal(err)
		}
		_, after, found := strings.Cut(string(text), "<!-- newcomer: "+what+" -->\n")
		if !found {
			continue
		}
		_, block, _ := strings.Cut(after, "```sh\n")
		block, _, closed := strings.Cut(block, "\n```")
		if !closed {
			t.Fatalf("%s%s has no commands below the marker for %s", page, suffix, what)
		}
		var all []string
		for line := range strings.SplitSeq(block, "\n") {
			line, _, _ = strings.Cut(line, " #")
			all = append(all, strings.TrimSpace(line))
		}
		return all
	}
	return nil
}
