package grantfile

import "testing"

// Lock locks a file as another process would.
func Lock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	f, err := tryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}
