package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/zhongkong/zhongkong/redisstore/redistest"
)

// sharedRedis is the server of all tests that do not harm it. Each test has a
// prefix of its own.
var sharedRedis *redistest.Server

// silence is where go-redis's own log lines go.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	redis.SetLogger(silence{})
	dir, err := os.MkdirTemp("", "zhongkong")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sharedRedis, err = redistest.Launcher{Dir: dir}.Single()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	sharedRedis.Kill()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
