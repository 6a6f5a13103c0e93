// Package grantfile keeps grants in files: Spool is a coordinator.GrantSpool, Copy a
// coordinator.GrantCopy.
//
// What is promised: a method that has returned nil has written its file and the
// directory's entry to disk, and a file is replaced whole, so that a process that is
// killed at any moment leaves the old content or the new one. Any number of processes
// may use one directory. What is not: a directory on a network file system is as safe as
// that file system's fsync, rename and locks are, and whoever can write to the directory
// can put an old file back.
//
// Every file has two lines, the account's name and what the Sealer made of the content.
// Only the user that runs the process can read them; a directory that others can read is
// refused. What root makes in a directory of another user belongs to that user. A file that
// cannot be opened, because its key is missing, is named in an error and left where it is,
// for a process that has the key.
package grantfile

// Sealer encrypts what is written. What was sealed for one account must not open for
// another one. Use a different binding for each directory, so that a file of one is not
// accepted in another.
type Sealer interface {
	Seal(account string, plain []byte) (string, error)
	Open(account, sealed string) ([]byte, error)
}

// Resealer is a Sealer that has several keys; see Copy.Reseal.
type Resealer interface {
	Sealer

	// Outdated reports whether another key has sealed it than the one that seals now.
	Outdated(sealed string) bool
}
