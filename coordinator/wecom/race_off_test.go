//go:build !race

package wecom_test

const raceEnabled = false
