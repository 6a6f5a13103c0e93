//go:build race

package wechat

// raceEnabled says that the race detector watches, which makes everything many times slower.
const raceEnabled = true
