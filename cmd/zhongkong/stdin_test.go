package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
)

func TestACommandThatWaitsForStdinEndsWhenItIsInterrupted(t *testing.T) {
	for _, args := range [][]string{{"passwd"}, {"refresh", "--if-token", "-"}} {
		silent, end := io.Pipe()
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		var out, talk bytes.Buffer
		p := program{stdin: silent, stdout: &out, stderr: &talk, env: func(string) string { return "" }}
		code := p.run(ctx, append([]string{"zhongkong"}, args...))
		if code != exitOther || out.Len() > 0 || !strings.Contains(talk.String(), "read stdin") {
			t.Errorf("%v: %d, %q, %q", args, code, out.String(), talk.String())
		}
		_ = end.Close()
	}
}
