package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestTheManualHasEveryCommandAndOption(t *testing.T) {
	b := newBench(t)
	page := b.must("man")
	app := program{}.app()
	for _, c := range app.VisibleCommands() {
		if !strings.Contains(page, "\n.SS "+roff(c.Name)) {
			t.Errorf("the command %s is missing", c.Name)
		}
		for _, o := range newOptions(c.Flags) {
			if !strings.Contains(page, roff(o.Flag())) {
				t.Errorf("%s %s is missing", c.Name, o.Flag())
			}
		}
	}
	groff := exec.CommandContext(t.Context(), "groff", "-man", "-Tutf8", "-ww", "-z")
	groff.Stdin = strings.NewReader(page)
	if out, err := groff.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}
