//go:build race

package httpapi

// raceEnabled says that times measure the race detector.
const raceEnabled = true
