package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A build can only be broken where its source still reads as the patch expects.
func TestEveryMutantFitsTheSource(t *testing.T) {
	for _, m := range mutants() {
		for _, p := range m.patches {
			text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(p.file)))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), p.from) {
				t.Errorf("%s: no such line in %s: %q", m.name, p.file, p.from)
			}
		}
	}
}
