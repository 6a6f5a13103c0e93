package tokenfile

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Stats is what has become of a file. The counts begin at 0 when the process starts, and
// when a reload changes how the file is written.
type Stats struct {
	Account, Path string

	Current                bool   // the file has the newest token of this process
	Written, Failed        uint64 // changes of the file, and attempts that failed
	Notified, NotifyFailed uint64 // runs of the command
}

// Set keeps a list of files, which may change while it runs. Its methods are safe for
// concurrent use.
type Set struct {
	accounts Accounts
	log      *slog.Logger

	changing sync.Mutex      // held while the list changes, which waits for the disk; guards what follows
	ctx      context.Context // nil: Run was not called
	files    []File

	mu      sync.Mutex // locked after changing, which is needed as well to change writers
	writers []*running // parallel to files once Run was called
}

type running struct {
	*writer
	stop func() // returns when run has returned
}

// NewSet returns a set that keeps no files before Run.
func NewSet(accounts Accounts, log *slog.Logger) *Set {
	return &Set{accounts: accounts, log: log}
}

// Configure replaces the list of files. A file that stays as it is goes on; one that is
// not in the list any more stays on the disk. It waits until those that go are no longer
// written, and their commands have ended or been killed.
func (s *Set) Configure(files []File) {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.files = slices.Clone(files)
	if s.ctx != nil {
		s.apply()
	}
}

// Run keeps the files until ctx ends, and returns when all is written that was begun.
func (s *Set) Run(ctx context.Context) {
	s.changing.Lock()
	s.ctx = ctx
	s.apply()
	s.changing.Unlock()
	<-ctx.Done()
	s.Configure(nil)
}

// apply starts and stops writers. changing is held. Until those that go have ended, Stats
// has the list of before.
func (s *Set) apply() {
	before := slices.Clone(s.writers)
	writers := make([]*running, len(s.files))
	for i, f := range s.files {
		if at := slices.IndexFunc(before, func(w *running) bool { return w.file.Same(f) }); at >= 0 {
			writers[i] = before[at]
			before = slices.Delete(before, at, at+1)
		}
	}
	for _, w := range before { // first, because another may write the same file
		w.stop()
	}
	for i, f := range s.files {
		if writers[i] == nil {
			writers[i] = s.start(f)
		}
	}
	s.mu.Lock()
	s.writers = writers
	s.mu.Unlock()
}

func (s *Set) start(f File) *running {
	ctx, cancel := context.WithCancel(s.ctx)
	w := newWriter(f, s.accounts, s.log)
	var wg sync.WaitGroup
	wg.Go(func() { w.run(ctx) }) // ends with ctx
	return &running{w, func() { cancel(); wg.Wait() }}
}

// Stats returns what has become of each file. It does not wait for the disk.
func (s *Set) Stats() []Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Stats
	for _, w := range s.writers {
		w.mu.Lock()
		all = append(all, w.stats)
		w.mu.Unlock()
	}
	return all
}

// WriteOnce makes the file that of a record, and runs the command if that is a change, or
// if it was not run or has failed after the last one.
func (f File) WriteOnce(ctx context.Context, r coordinator.Record, log *slog.Logger) error {
	w := newWriter(f, nil, log)
	w.begin()
	if err := w.write(r); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	select {
	case <-w.changed:
	default:
		return nil
	}
	if err := w.command(ctx); err != nil {
		return fmt.Errorf("%s is written, but the command of notify fails: %w", f.Path, err)
	}
	return nil
}
