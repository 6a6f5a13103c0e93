package grantfile

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Copy keeps a copy of each grant in a directory, one file for each account. Processes
// may share the directory. It is safe for concurrent use.
type Copy struct {
	dir    string
	sealer Sealer
}

var _ coordinator.GrantCopy = (*Copy)(nil)

// OpenCopy opens a directory, which is made if it is missing. The Sealer must not be nil.
func OpenCopy(dir string, s Sealer) (*Copy, error) {
	if s == nil {
		return nil, errNoSealer
	}
	if err := openDir(dir); err != nil {
		return nil, err
	}
	return &Copy{dir: dir, sealer: s}, nil
}

// Copied returns the accounts of a directory as Accounts does. It changes nothing.
func Copied(ctx context.Context, dir string, s Sealer) ([]string, error) {
	return (&Copy{dir: dir, sealer: s}).Accounts(ctx)
}

// Outdated returns the accounts of a directory whose files another key has sealed than the
// one that seals now. It changes nothing. The error names files that cannot be read.
func Outdated(dir string, s Resealer) ([]string, error) {
	paths, err := complete(dir, grantSuffix)
	errs := []error{err}
	var accounts []string
	for _, path := range paths {
		account, sealed, err := readSealed(path)
		if err == nil && s.Outdated(sealed) {
			accounts = append(accounts, account)
		}
		errs = append(errs, ignoreMissing(err))
	}
	return accounts, errors.Join(errs...)
}

// Put stores g unless the file has a newer one, or the same. A file that cannot be
// opened is not replaced: it may be newer.
func (c *Copy) Put(ctx context.Context, account string, g coordinator.Grant) error {
	if err := c.put(ctx, account, g); err != nil {
		return fmt.Errorf("grantfile: copy the grant of %q: %w", account, err)
	}
	return nil
}

func (c *Copy) put(ctx context.Context, account string, g coordinator.Grant) error {
	unlock, err := c.lock(ctx, account)
	if err != nil {
		return err
	}
	defer unlock()
	stored, err := c.read(account)
	if err != nil {
		return err
	}
	if stored.Same(g) {
		return syncDir(c.dir) // whoever wrote it may have been killed before it did so
	}
	if g.Older(stored) {
		return nil
	}
	sealed, err := c.sealer.Seal(account, coordinator.EncodeGrant(g))
	if err != nil {
		return err
	}
	return writeFile(c.dir, escape(account)+grantSuffix, account, sealed)
}

// Get returns the account's grant, the zero Grant if there is no file.
func (c *Copy) Get(_ context.Context, account string) (coordinator.Grant, error) {
	g, err := c.read(account)
	if err != nil {
		return coordinator.Grant{}, fmt.Errorf("grantfile: read the copy of the grant of %q: %w", account, err)
	}
	return g, nil
}

func (c *Copy) read(account string) (coordinator.Grant, error) {
	path := filepath.Join(c.dir, escape(account)+grantSuffix)
	name, plain, err := readFile(c.sealer, path)
	switch {
	case err != nil:
		return coordinator.Grant{}, ignoreMissing(err)
	case name != account:
		return coordinator.Grant{}, fmt.Errorf("%s: it is of account %q: move it away", path, name)
	}
	g, err := coordinator.DecodeGrant(plain)
	if err != nil {
		return coordinator.Grant{}, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// Accounts returns the accounts that have a file that can be opened. The error, which
// may come with accounts, names the files that cannot.
func (c *Copy) Accounts(context.Context) ([]string, error) {
	paths, err := complete(c.dir, grantSuffix)
	errs := []error{err}
	var accounts []string
	for _, path := range paths {
		account, _, err := readFile(c.sealer, path)
		if err != nil {
			errs = append(errs, ignoreMissing(err))
			continue
		}
		accounts = append(accounts, account)
	}
	if err := errors.Join(errs...); err != nil {
		return accounts, fmt.Errorf("grantfile: copies of grants that were not read: %w", err)
	}
	return accounts, nil
}

// Reseal seals what a key has sealed that is to be removed again, with the key that seals
// now. Files that cannot be opened are named in the error.
func (c *Copy) Reseal(ctx context.Context) error {
	keys, ok := c.sealer.(Resealer)
	if !ok {
		return nil
	}
	paths, err := complete(c.dir, grantSuffix)
	errs := []error{err}
	for _, path := range paths {
		account, sealed, err := readSealed(path)
		if err == nil && keys.Outdated(sealed) {
			err = c.reseal(ctx, account)
		}
		errs = append(errs, ignoreMissing(err))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("grantfile: copies of grants that were not sealed again: %w", err)
	}
	return nil
}

func (c *Copy) reseal(ctx context.Context, account string) error {
	unlock, err := c.lock(ctx, account)
	if err != nil {
		return err
	}
	defer unlock()
	g, err := c.read(account)
	if err != nil || g.Version == 0 {
		return err
	}
	sealed, err := c.sealer.Seal(account, coordinator.EncodeGrant(g))
	if err != nil {
		return err
	}
	return writeFile(c.dir, escape(account)+grantSuffix, account, sealed)
}

// lockShards is how many of the directory's accounts can be written at once.
const lockShards = 16

// lock keeps others, also those of other processes, from writing the account's file.
func (c *Copy) lock(ctx context.Context, account string) (unlock func(), err error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(account))
	path := filepath.Join(c.dir, fmt.Sprintf(".lock-%x", h.Sum32()%lockShards))
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		f, err := tryLock(path)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%s is locked by another process: %w", path, ctx.Err())
		}
	}
}
