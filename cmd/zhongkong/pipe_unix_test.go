//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe has nobody who writes into it a second time: to open it would wait for ever.
func TestAFileThatIsAPipeIsReadOnceAndKeepsNoDaemonFromItsEnd(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(t.TempDir(), "secret")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, []byte(secret), 0) }() // ends when serve reads it
	d := b.with("ZHONGKONG_SECRET", "", "ZHONGKONG_SECRET_FILE", path).serve()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	d.ready()
	b.hup()
	d.says(path + " is a pipe, which can be read only once")
	d.says("the new configuration is refused, the old one stays")
	d.stop()
}
