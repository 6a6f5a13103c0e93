package main

import (
	"context"
	"crypto/sha256"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

// checkFilesEvery is how often the watched files are compared with what was read.
const checkFilesEvery = 2 * time.Second

// watchedFiles are the configuration, the files that it names, and the seal keys of a
// process that runs until it is stopped. They are compared with what was read last, be it
// in use or refused.
type watchedFiles struct {
	session *session
	hup     <-chan os.Signal // nil: SIGHUP does not mean that
	keys    [sha256.Size]byte
}

// watchFiles looks at the seal keys. It is called before anybody is told that the process
// is ready: a change that comes right after that is not missed.
func (s *session) watchFiles() *watchedFiles {
	return &watchedFiles{session: s, hup: s.hup, keys: s.keysDigest()}
}

// takeHangups makes SIGHUP say that all files have to be read again. It never ends the process
// from then on, also while that starts or stops: what it has to store would be lost.
func (s *session) takeHangups() {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	s.hup = hup
	if s.outliveHangups != nil {
		s.outliveHangups() // only now: there is always a handler
	}
}

// follow reads the seal keys again at each change, and calls refused if they cannot be used.
// It calls reload at each change of the configuration and of the files that it names; nil: the
// process does not use them any more. asked: it was SIGHUP. It returns when ctx ends.
func (w *watchedFiles) follow(ctx context.Context, refused func(error), reload func(asked bool)) {
	tick := time.NewTicker(checkFilesEvery)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-w.hup:
			asked = true
		case <-tick.C:
		}
		keys := w.session.keysDigest() // before they are read: a later change is found next time
		if asked || keys != w.keys {
			w.keys = keys
			if err := w.session.reloadSealKeys(); err != nil {
				refused(err)
			}
		}
		w.session.resealAgain(time.Now())
		if reload != nil && (asked || w.session.files.Changed()) {
			reload(asked)
		}
	}
}

// loadAgain reads the configuration again.
func (s *session) loadAgain(in config.Input) (*config.Config, error) {
	if err := s.files.Again(); err != nil {
		s.files = s.files.Now() // until the next change
		return nil, err
	}
	next, files, err := config.Load(in)
	s.files = files
	return next, err
}

func (s *session) keysDigest() [sha256.Size]byte { return config.Digest(s.started.SealKeyFile) }
