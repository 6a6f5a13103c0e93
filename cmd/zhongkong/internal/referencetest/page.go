// Package referencetest compares the pages of the documentation that are generated with
// the tables of the program that they are generated from.
package referencetest

import (
	"flag"
	"os"
	"strings"
	"testing"
)

// Command generates all pages again. go:generate in cmd/zhongkong runs it.
const Command = "go generate ./cmd/zhongkong"

var update = flag.Bool("update", false, "write the generated pages of cmd/zhongkong/docs")

// Page compares a whole page, or with -update writes it.
func Page(t *testing.T, file, want string) {
	t.Helper()
	got, err := os.ReadFile(file)
	switch {
	case *update && string(got) != want:
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil { //nolint:gosec // a page that everyone may read
			t.Fatal(err)
		}
	case *update:
	case err != nil:
		t.Error(err)
	case string(got) != want:
		t.Errorf("%s is out of date: run %s", file, Command)
	}
}

// Part is Page for what a page has between the comments "NAME: a test writes this
// table" and "end of NAME".
func Part(t *testing.T, file, name, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": a test writes this table -->\n", "<!-- end of "+name+" -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the %s", file, name)
	}
	Page(t, file, before+begin+want+end+after)
}

// Row writes a row of a table.
func Row(b *strings.Builder, cells ...string) {
	for _, cell := range cells {
		b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// Heading writes the first two rows of a table.
func Heading(b *strings.Builder, cells ...string) {
	Row(b, cells...)
	b.WriteString(strings.Repeat("| --- ", len(cells)) + "|\n")
}
