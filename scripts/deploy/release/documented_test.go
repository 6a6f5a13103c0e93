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

// documented returns the blocks of code of a language in a section of a page. In both
// languages of the documentation they are the same, as a test of the pages says.
func documented(t *testing.T, page, section, language string) (all []string) {
	t.Helper()
	text, err := os.ReadFile("../../../cmd/zhongkong/docs/" + page + ".md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, block := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(rest, -1) {
		all = append(all, block[1])
	}
	if len(all) == 0 {
		t.Fatalf("%s.md has no block of %s in the section %s", page, language, section)
	}
	return all
}
