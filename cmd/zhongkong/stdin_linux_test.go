package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/zhongkong/zhongkong/coordinator/oauth/oauthtest"
)

// newTerminal returns the two ends of a pseudo-terminal: what a person types, and the stdin of
// the command that she types it for.
func newTerminal(t *testing.T) (keyboard io.Writer, stdin *os.File) {
	t.Helper()
	open := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	master := open("/dev/ptmx")
	var locked, number int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &locked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	return master, open(fmt.Sprintf("/dev/pts/%d", number))
}

func (b *bench) typed(line string, args ...string) ran {
	b.t.Helper()
	keyboard, stdin := newTerminal(b.t)
	r := b.startReading(b.t.Context(), stdin, args...)
	if _, err := io.WriteString(keyboard, line+"\n"); err != nil {
		b.t.Fatal(err)
	}
	return r.wait()
}

func TestALineThatATerminalCutsIsRefused(t *testing.T) {
	b := newConsenting(t, "redirect: https://app.example.com/callback")
	b.issuer.AddClient(oauthtest.Client{ID: "c", Secret: grantSecret, Redirects: []string{"https://app.example.com/callback"}})
	_, token := b.issuer.Consent("c", "")
	b.stored(b.typed(token, "grant", "import"))
	for _, args := range [][]string{{"grant", "import"}, {"login"}, {"refresh", "--if-token", "-"}} {
		for _, length := range []int{4095, 4096, 8192} {
			line := "https://app.example.com/callback?state=x&code=" + strings.Repeat("x", 8192)
			r := b.typed(line[:length], args...)
			if r.code != exitUsage || !strings.Contains(r.stderr, "send it from a file or by a pipe") || strings.Contains(r.stderr, "xxx") {
				t.Errorf("%v: a line of %d bytes: %d\n%s", args, length, r.code, r.stderr)
			}
		}
	}
	if r := b.typed(strings.Repeat("x", 4094), "grant", "import"); r.code != exitDone {
		t.Errorf("a line of 4094 bytes: %d\n%s", r.code, r.stderr)
	}
}
