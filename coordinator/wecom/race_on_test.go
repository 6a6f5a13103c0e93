//go:build race

package wecom_test

// raceEnabled says that the race detector watches, which makes everything many times slower.
const raceEnabled = true
