package main

import (
	"strings"
	"testing"
)

func TestGrantSaysWhatIsWrongWithItsArguments(t *testing.T) {
	b := newBench(t)
	for words, args := range map[string][]string{
		"no verb: write one of grant export":         {"grant"},
		`grant has no verb "exprt": write one of ex`: {"grant", "exprt"},
		"grant restore takes no names: got wx1":      {"grant", "restore", "wx1"},
		"an export is always sealed":                 {"grant", "export"},
		"--key-file: ":                               {"grant", "export", "--key-file", "/nowhere.keys"},
	} {
		if r := b.fails(exitUsage, words, args...); r.stdout != "" {
			t.Errorf("%s: stdout is for data: %q", strings.Join(args, " "), r.stdout)
		}
	}
	if help := b.must("grant", "--help"); !strings.Contains(help, "grant export [NAME...]") || !strings.Contains(help, "grant restore") {
		t.Errorf("the help does not list the verbs:\n%s", help)
	}
}
