package referencetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Catalog has the Chinese of English texts. Its file has the form of gettext's .po files.
type Catalog struct {
	t      *testing.T
	file   string
	texts  map[string]string
	used   []string // in their order
	isUsed map[string]bool
}

// Open reads a catalog. At the end of the test each text that was asked for must be in
// it. With -update the missing ones are put in, to be translated by hand, and those that
// are of no use any more are removed.
func Open(t *testing.T, file string) *Catalog {
	t.Helper()
	c := &Catalog{t: t, file: file, texts: map[string]string{}, isUsed: map[string]bool{}}
	content, err := os.ReadFile(file)
	if err != nil && (!*update || !os.IsNotExist(err)) {
		t.Fatal(err)
	}
	english := ""
	for number, line := range strings.Split(string(content), "\n") {
		keyword, quoted, _ := strings.Cut(line, " ")
		if keyword == "" || keyword == "#" {
			continue
		}
		text, err := strconv.Unquote(quoted)
		switch {
		case err != nil || keyword != "msgid" && keyword != "msgstr":
			t.Fatalf("%s:%d: want msgid or msgstr and a text in quotes", file, number+1)
		case keyword == "msgid":
			english = text
		default:
			c.texts[english] = text
		}
	}
	t.Cleanup(c.check)
	return c
}

// Chinese returns the Chinese of a text, or the text itself if the catalog lacks it.
func (c *Catalog) Chinese(english string) string {
	if english == "" {
		return ""
	}
	if !c.isUsed[english] {
		c.isUsed[english] = true
		c.used = append(c.used, english)
	}
	if c.texts[english] == "" {
		return english
	}
	return c.texts[english]
}

func (c *Catalog) check() {
	var b strings.Builder
	b.WriteString("# The Chinese of a reference page, in the order of the page. " + Command + "\n# adds what is missing, and removes what is of no use.\n")
	for _, english := range c.used {
		if c.texts[english] == "" {
			c.t.Errorf("%s: the Chinese of %q is missing: run %s, write it there, and run it again", filepath.Base(c.file), english, Command)
		}
		fmt.Fprintf(&b, "\nmsgid %s\nmsgstr %s\n", strconv.Quote(english), strconv.Quote(c.texts[english]))
	}
	if *update {
		Page(c.t, c.file, b.String())
	}
}
