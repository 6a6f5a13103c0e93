package grantfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Spool keeps the answers of this process in a directory of its own below a directory
// that the processes of a machine share. It reads what processes that have ended left
// there as well, and leaves it where it is: another process may have the key, or the
// account, that this one lacks. It is safe for concurrent use.
type Spool struct {
	shared string // the directory above
	dir    string
	lock   *os.File // held until the process ends: nobody else reads its directory
	sealer Sealer

	mu sync.Mutex // held while others' directories are locked
}

var _ coordinator.GrantSpool = (*Spool)(nil)

const (
	ownSuffix = ".spool" // of the directories of processes
	lockName  = ".lock"  // the file in such a directory that its process keeps locked
)

// OpenSpool makes a directory for this process below dir, which is made if it is
// missing. instance becomes a part of its name, for people. The spool is this process'
// until Close, or until the process ends. The Sealer must not be nil.
func OpenSpool(dir, instance string, s Sealer) (*Spool, error) {
	if s == nil {
		return nil, errNoSealer
	}
	if err := openDir(dir); err != nil {
		return nil, err
	}
	for {
		own, err := os.MkdirTemp(dir, escape(instance)+".*"+ownSuffix)
		if err != nil {
			return nil, fmt.Errorf("grantfile: %w", err)
		}
		if err := ignoreMissing(handOverDir(own)); err != nil {
			return nil, fmt.Errorf("grantfile: %w", err)
		}
		lock, err := tryLock(filepath.Join(own, lockName))
		switch {
		case errors.Is(err, errLocked), err != nil && ignoreMissing(err) == nil:
			continue // another process has taken the new directory for that of an ended one
		case err != nil:
			return nil, fmt.Errorf("grantfile: %w", err)
		}
		if err := syncDir(dir); err != nil {
			return nil, fmt.Errorf("grantfile: %w", err)
		}
		return &Spool{shared: dir, dir: own, lock: lock, sealer: s}, nil
	}
}

// Close gives the directory up. Answers in it are left to other processes.
func (s *Spool) Close() error {
	discard(s.dir)
	return s.lock.Close()
}

// Waiting returns the accounts of the answers in the directories of all processes below
// dir. It changes nothing. The error, which may come with accounts, names the files that
// cannot be opened.
func Waiting(dir string, s Sealer) ([]string, error) {
	dirs, err := ownDirs(dir)
	errs := []error{err}
	var accounts []string
	for _, own := range dirs {
		paths, err := complete(own, answerSuffix)
		errs = append(errs, ignoreMissing(err)) // its process has ended since
		for _, path := range paths {
			account, _, err := readFile(s, path)
			if err == nil {
				accounts = append(accounts, account)
			}
			errs = append(errs, ignoreMissing(err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return accounts, fmt.Errorf("grantfile: answers in the spool that cannot be read: %w", err)
	}
	return accounts, nil
}

// answerJSON is a GrantAnswer written down.
type answerJSON struct {
	Fence     coordinator.Fence `json:"fence"`
	Parent    coordinator.Fence `json:"parent"`
	Consent   coordinator.Fence `json:"consent,omitempty"`
	Token     string            `json:"token"`
	Form      string            `json:"form,omitempty"`
	IdleUntil time.Time         `json:"idle_until,omitzero"` // by this machine's clock
	EndsAt    time.Time         `json:"ends_at,omitzero"`
}

// Write writes an answer down. It returns nil when it is on disk.
func (s *Spool) Write(a coordinator.GrantAnswer) error {
	plain, err := json.Marshal(answerJSON{
		Fence: a.Fence, Parent: a.Parent, Consent: a.Consent, Token: a.Token.Reveal(), Form: a.Form, IdleUntil: after(a.Idle), EndsAt: after(a.Ends),
	})
	if err != nil {
		return fmt.Errorf("grantfile: spool an answer of %q: %w", a.Account, err)
	}
	sealed, err := s.sealer.Seal(a.Account, plain)
	if err == nil {
		err = writeFile(s.dir, answerName(a.Account, a.Fence), a.Account, sealed)
	}
	if err != nil {
		return fmt.Errorf("grantfile: spool an answer of %q: %w", a.Account, err)
	}
	return nil
}

// Remove removes an answer, if it is there: one of this process, or one that an ended
// process has left.
func (s *Spool) Remove(account string, fence coordinator.Fence) error {
	name := answerName(account, fence)
	err := removeFile(s.dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.removeLeft(name)
	}
	if err != nil {
		return fmt.Errorf("grantfile: remove an answer of %q from the spool: %w", account, err)
	}
	return nil
}

func (s *Spool) removeLeft(name string) error {
	dirs, err := ownDirs(s.shared)
	errs := []error{err}
	for _, dir := range dirs {
		errs = append(errs, ignoreMissing(removeFile(dir, name)))
	}
	return errors.Join(errs...)
}

// removeFile returns nil when the removal is on disk.
func removeFile(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir) // or the answer would be kept once more, which does no harm
}

// Answers returns the answers of this process, and those that ended processes have left,
// as far as they can be opened. Each stays where it is until Remove, so several processes
// may be told of one, and store it. The error, which may come with answers, names the
// files that cannot be opened.
func (s *Spool) Answers() ([]coordinator.GrantAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	others, err := s.filesOfEnded()
	errs := []error{err}
	own, err := complete(s.dir, answerSuffix)
	errs = append(errs, err)
	var answers []coordinator.GrantAnswer
	for _, path := range append(others, own...) {
		a, err := s.read(path)
		if err != nil {
			errs = append(errs, ignoreMissing(err)) // removed since
			continue
		}
		answers = append(answers, a)
	}
	if err := errors.Join(errs...); err != nil {
		return answers, fmt.Errorf("grantfile: answers in the spool that were not read, and stay where they are: %w", err)
	}
	return answers, nil
}

func (s *Spool) read(path string) (coordinator.GrantAnswer, error) {
	account, plain, err := readFile(s.sealer, path)
	if err != nil {
		return coordinator.GrantAnswer{}, err
	}
	var j answerJSON
	if err := json.Unmarshal(plain, &j); err != nil || j.Fence == 0 {
		return coordinator.GrantAnswer{}, fmt.Errorf("%s: it opens, but is no answer that this version has written: move it away", path)
	}
	return coordinator.GrantAnswer{
		Account: account, Fence: j.Fence, Parent: j.Parent, Consent: j.Consent, Token: coordinator.NewToken(j.Token), Form: j.Form,
		Idle: left(j.IdleUntil), Ends: left(j.EndsAt),
	}, nil
}

// filesOfEnded returns the files of the answers that ended processes have left.
func (s *Spool) filesOfEnded() (paths []string, err error) {
	dirs, err := ownDirs(s.shared)
	errs := []error{err}
	for _, dir := range dirs {
		if dir == s.dir {
			continue
		}
		in, err := filesIfEnded(dir)
		paths, errs = append(paths, in...), append(errs, err)
	}
	return paths, errors.Join(errs...)
}

// filesIfEnded returns the files of the answers in a process' directory, none while it lives.
// It removes what the process has not finished writing, and a directory without answers.
func filesIfEnded(dir string) (paths []string, err error) {
	lock, err := tryLock(filepath.Join(dir, lockName))
	switch {
	case errors.Is(err, errLocked):
		return nil, nil // its process lives, or another one is at it
	case err != nil:
		return nil, ignoreMissing(err) // another process has removed it
	}
	defer func() { _ = lock.Close() }()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), partPrefix):
			errs = append(errs, os.Remove(path)) // its Write never returned
		case strings.HasSuffix(e.Name(), answerSuffix):
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		discard(dir)
	}
	return paths, errors.Join(errs...)
}

// ownDirs returns the directories of processes below a shared one.
func ownDirs(shared string) ([]string, error) {
	entries, err := os.ReadDir(shared)
	var dirs []string
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), ownSuffix) {
			dirs = append(dirs, filepath.Join(shared, e.Name()))
		}
	}
	return dirs, err
}

// discard removes a process' directory, whose lock the caller holds, unless there are
// other files in it.
func discard(dir string) {
	_ = os.Remove(filepath.Join(dir, lockName))
	_ = os.Remove(dir)
}

func answerName(account string, fence coordinator.Fence) string {
	return fmt.Sprintf("%s@%d%s", escape(account), fence, answerSuffix)
}

// after returns the instant at the end of a time; zero for 0.
func after(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d).UTC()
}

// left returns the time until an instant, at least a second; 0 for the zero one.
func left(until time.Time) time.Duration {
	if until.IsZero() {
		return 0
	}
	return max(time.Until(until), time.Second)
}
