//go:build unix

package main

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

// While it stops a process stores what is under way. Without a handler SIGHUP would end it.
func TestAHangupEndsNoProcessThatHasStoppedToWatchItsFiles(t *testing.T) {
	s := &session{started: &config.Config{}}
	s.takeHangups()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.watchFiles().follow(ended, nil, nil)
	for len(s.hup) > 0 {
		<-s.hup
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-s.hup
}
