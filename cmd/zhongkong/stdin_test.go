package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func TestACommandThatWaitsForStdinEndsWhenItIsInterrupted(t *testing.T) {
	b := newBench(t)
	b.env["ZHONGKONG_SEAL_KEY_FILE"] = b.file("seal.keys", seal.NewLine(time.Now()))
	for _, args := range [][]string{{"passwd"}, {"refresh", "--if-token", "-"}, {"grant", "restore"}} {
		silent, end := io.Pipe()
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		var out, talk bytes.Buffer
		p := program{stdin: silent, stdout: &out, stderr: &talk, env: func(name string) string { return b.env[name] }, environ: b.environ}
		code := p.run(ctx, append([]string{"zhongkong"}, args...))
		if code != exitOther || out.Len() > 0 || !strings.Contains(talk.String(), "read stdin") {
			t.Errorf("%v: %d, %q, %q", args, code, out.String(), talk.String())
		}
		_ = end.Close()
	}
}
