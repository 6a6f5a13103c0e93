package tokenfile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	// lookEvery is how often a file is compared with what it has to be: another program
	// may have removed or changed it. It is also how often an account is looked for that
	// does not exist yet.
	lookEvery = 5 * time.Second

	// What has failed is tried again after firstRetry, and then after twice as long each
	// time, up to lastRetry.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// maxTokens is more than a file has had while a command runs, and the one before, which
// the command may replace.
const maxTokens = 100

// Accounts finds accounts; a *coordinator.Coordinator is one.
type Accounts interface {
	Account(name string) (*coordinator.Account, bool)
}

// writer keeps one file.
type writer struct {
	file     File
	accounts Accounts
	log      *slog.Logger
	changed  chan struct{} // has room for one: the command is to be run
	untold   bool          // of begin and write: the command is to be run although the file does not change

	marking  sync.Mutex // held while the mark is made or removed, which waits for the disk; locked before mu
	mu       sync.Mutex // guards what follows
	stats    Stats
	changes  uint64              // of the file, each marked
	changing bool                // it may be before or after a change that is marked already
	tokens   []coordinator.Token // the last that the file has had or was to have: the command may print them
}

func newWriter(f File, accounts Accounts, log *slog.Logger) *writer {
	log = log.With("account", f.Account, "file", f.Path)
	return &writer{file: f, accounts: accounts, log: log, changed: make(chan struct{}, 1), stats: Stats{Account: f.Account, Path: f.Path}}
}

// run keeps the file until ctx ends. A command that runs then is killed, and run again
// at the next start.
func (w *writer) run(ctx context.Context) {
	var notifying sync.WaitGroup
	defer notifying.Wait()
	if len(w.file.Notify) > 0 {
		notifying.Go(func() { w.notify(ctx) }) // ends with ctx
	}
	w.begin()
	var snapshots <-chan coordinator.Snapshot // nil while the account is not there
	var newest coordinator.Snapshot
	var problem string // that was logged
	retry := time.Duration(0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if snapshots == nil {
			if account, ok := w.accounts.Account(w.file.Account); ok {
				snapshots = account.Watch(ctx)
			}
		}
		select {
		case <-ctx.Done():
			return
		case s, ok := <-snapshots:
			if !ok { // ctx has ended, or the account was removed, and may come back at once
				snapshots = nil
				timer.Reset(firstRetry)
				continue
			}
			newest, retry = s, 0
		case <-timer.C:
		}
		timer.Reset(lookEvery)
		if newest.Token.IsZero() {
			continue
		}
		err := w.write(newest.Record)
		problem = w.report(problem, err, "the token file cannot be written, and is tried again", "the token file is written again")
		if retry = nextRetry(retry, err); err != nil {
			timer.Reset(retry)
		}
	}
}

// nextRetry returns the pause after a try that has failed, and 0 after one that has not.
func nextRetry(before time.Duration, err error) time.Duration {
	if err == nil {
		return 0
	}
	return min(max(2*before, firstRetry), lastRetry)
}

// report logs a problem when it begins and when it changes, and its end. It returns the
// problem to be passed to it next time.
func (w *writer) report(before string, err error, begins, ends string) string {
	switch {
	case err != nil:
		now := withoutParts(err.Error())
		if now != before {
			w.log.Error(begins, "error", err)
		}
		return now
	case before != "":
		w.log.Info(ends)
	}
	return ""
}

// withoutParts removes the names of files that are being written, which are never the
// same twice.
func withoutParts(text string) string {
	before, after, found := strings.Cut(text, ".zhongkong-")
	if !found || len(after) < partLength {
		return text
	}
	return before + withoutParts(after[partLength:])
}

// begin removes what a killed process has left, and has the command that it has not run
// any more run after the first write: until then the file has a token that is not known.
func (w *writer) begin() {
	if err := w.file.removeParts(); err != nil {
		w.log.Warn("files that a killed process has left cannot be removed", "error", err)
	}
	if !w.file.isMarked() {
		return
	}
	if len(w.file.Notify) == 0 { // it has been taken out of the configuration
		if err := w.file.unmark(); err != nil {
			w.log.Warn("files that a killed process has left cannot be removed", "error", err)
		}
		return
	}
	w.untold = true
}

// write makes the file that of a record.
func (w *writer) write(r coordinator.Record) error {
	w.note(r.Token)
	changed, err := w.file.update(r, w.willChange)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changing = false
	w.stats.Current = err == nil
	if err != nil {
		w.stats.Failed++
	}
	if changed {
		w.changes++
		w.stats.Written++
		w.log.Info("token file written", "generation", uint64(r.Generation))
	}
	if len(w.file.Notify) > 0 && (changed || w.untold && err == nil) {
		w.untold = false
		select {
		case w.changed <- struct{}{}:
		default: // it runs after this change anyway
		}
	}
	return err
}

// note notes a token before the file has it, and one that the file has already: a command
// that failed in another process is run again without a change.
func (w *writer) note(t coordinator.Token) {
	if len(w.file.Notify) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.tokens); n == 0 || !w.tokens[n-1].Equal(t) {
		w.tokens = append(w.tokens[max(n-maxTokens+1, 0):], t)
	}
}

// willChange is called before the file changes.
func (w *writer) willChange() error {
	if len(w.file.Notify) == 0 {
		return nil
	}
	w.marking.Lock()
	defer w.marking.Unlock()
	w.mu.Lock()
	w.changing = true
	w.mu.Unlock()
	return w.file.mark()
}

// notify runs the command after each change, one at a time, until ctx ends. Changes
// while it runs make it run once more.
func (w *writer) notify(ctx context.Context) {
	var problem string
	retry := time.Duration(0)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
			retry = 0
		case <-timer.C:
		}
		timer.Stop()
		err := w.command(ctx)
		if ctx.Err() != nil {
			return // killed with this process
		}
		problem = w.report(problem, err, "the command of a token file fails, and is tried again", "the command of a token file succeeds again")
		if retry = nextRetry(retry, err); err != nil {
			timer.Reset(retry)
		}
	}
}

// command runs the command once, and unmarks the file if it has not changed meanwhile.
func (w *writer) command(ctx context.Context) error {
	w.mu.Lock()
	told := w.changes
	w.mu.Unlock()
	err := w.file.runCommand(ctx, w.printable)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !errors.Is(ctx.Err(), context.Canceled) {
			w.stats.NotifyFailed++
		}
		return err
	}
	w.marking.Lock()
	defer w.marking.Unlock()
	w.mu.Lock()
	w.stats.Notified++
	unchanged := told == w.changes && !w.changing
	w.mu.Unlock()
	if unchanged {
		return w.file.unmark()
	}
	return nil
}

// printable returns the tokens that the command may have printed.
func (w *writer) printable() []coordinator.Token {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tokens)
}
