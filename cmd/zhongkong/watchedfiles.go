package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// checkFilesEvery is how often the watched files are compared with what was read. Their
// contents are compared, because editors, ConfigMaps and network file systems change
// times and inodes in unpredictable ways.
const checkFilesEvery = 2 * time.Second

// watchedFiles are the configuration, the files that it names, and the seal keys of a
// process that runs until it is stopped. They hold what the files looked like that are in
// use.
type watchedFiles struct {
	session          *session
	hup              chan os.Signal // nil: SIGHUP ends the process
	configured, keys [sha256.Size]byte
}

// change says which of the watched files have to be read again.
type change struct {
	asked      bool // by SIGHUP: all of them
	configured bool // the configuration and the files that it names
	keys       bool // the seal keys
}

// watchFiles looks at the files. It is called before anybody is told that the process is
// ready: a change that comes right after that is not missed.
func (s *session) watchFiles() *watchedFiles {
	w := &watchedFiles{session: s}
	w.configured, w.keys = w.fingerprints()
	return w
}

// watchFilesAndHangups is watchFiles for a daemon, to which SIGHUP says that all files
// have to be read again.
func (s *session) watchFilesAndHangups() *watchedFiles {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	w := s.watchFiles()
	w.hup = hup
	return w
}

// follow calls reload at each change, until ctx ends.
func (w *watchedFiles) follow(ctx context.Context, reload func(change)) {
	if w.hup != nil {
		defer signal.Stop(w.hup)
	}
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
		// Computed before the files are read: a later change is found next time.
		configured, keys := w.fingerprints()
		if c := (change{asked, asked || configured != w.configured, asked || keys != w.keys}); c != (change{}) {
			reload(c)
		}
		w.configured, w.keys = configured, keys
	}
}

func (w *watchedFiles) fingerprints() (configured, keys [sha256.Size]byte) {
	return fingerprint(w.session.cfg.Files()...), fingerprint(w.session.started.SealKeyFile)
}

func fingerprint(files ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, path := range files {
		if path == "" {
			continue
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d %v\n", path, len(data), err)
		_, _ = h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
