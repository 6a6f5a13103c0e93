package redisclient

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/redis/go-redis/v9"
)

// helloAnswer is Redis' answer to HELLO, as a map ("%") or a list ("*").
func helloAnswer(form, role string) string {
	n := 7
	if form == "*" {
		n = 14
	}
	return fmt.Sprintf("%s%d\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n"+
		"$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$%d\r\n%s\r\n"+
		"$7\r\nmodules\r\n*1\r\n%%2\r\n$4\r\nname\r\n$2\r\nbf\r\n$3\r\nver\r\n:20400\r\n", form, n, len(role), role)
}

var helloAnswers = map[string]Role{
	helloAnswer("%", "master"):                            Master,
	helloAnswer("%", "replica"):                           Replica,
	helloAnswer("%", "active-replica"):                    UnknownRole,
	helloAnswer("*", "replica"):                           Replica,
	">1\r\n$1\r\nx\r\n" + helloAnswer("%", "slave"):       Replica,
	"%2\r\n+server\r\n$5\r\nredis\r\n+role\r\n+slave\r\n": Replica,
	"%1\r\n$4\r\nrole\r\n$-1\r\n":                         UnknownRole,
	"%0\r\n":                                              UnknownRole,
	"+OK\r\n":                                             UnknownRole,
}

func TestReadRole(t *testing.T) {
	for wire, want := range helloAnswers {
		for name, stream := range map[string]io.Reader{
			"at once":     strings.NewReader(wire),
			"by the byte": iotest.OneByteReader(strings.NewReader(wire)),
		} {
			if got, err := readRole(stream); err != nil || got != want {
				t.Errorf("%s: %.60q says %v, %v, want %v", name, wire, got, err, want)
			}
		}
	}
}

func TestReadRoleReportsErrors(t *testing.T) {
	for _, wire := range []string{"-NOPERM No permissions\r\n", "!21\r\nNOPERM No permissions\r\n"} {
		_, err := readRole(strings.NewReader(wire))
		var answer redis.Error
		if !errors.As(err, &answer) || !redis.IsPermissionError(err) {
			t.Errorf("the answer %q is %v", wire, err)
		}
	}
	for _, wire := range []string{
		"?\r\n", "\r\n", "+no end\n", "*x\r\n", "*-2\r\n", "*99999999999\r\n", "%x\r\n", "%1\r\n$4\r\nrole\r\n?\r\n",
		"*2\r\n$4\r\nrole\r\n$99999999999\r\n", "%0\r\n+and more\r\n",
	} {
		if _, err := readRole(strings.NewReader(wire)); !errors.Is(err, errProtocol) {
			t.Errorf("%.40q: %v", wire, err)
		}
	}
	for _, wire := range []string{"", "%1\r\n", "$4\r\nro", "+" + strings.Repeat("x", maxReply), strings.Repeat("*1\r\n", maxReply)} {
		if _, err := readRole(strings.NewReader(wire)); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%.40q: %v", wire, err)
		}
	}
}

// Whatever a server answers, the reader neither panics nor hangs.
func FuzzReadRole(f *testing.F) {
	for wire := range helloAnswers {
		f.Add(wire)
	}
	f.Fuzz(func(_ *testing.T, wire string) {
		_, _ = readRole(strings.NewReader(wire))
	})
}
