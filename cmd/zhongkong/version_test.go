package main

import "testing"

func TestTheVersionNamesCommitAndDateOnce(t *testing.T) {
	const commit, date = "0123456789abcdef0123", "2026-01-02T03:04:05Z"
	for want, b := range map[string]build{
		"v1.2.3 0123456789ab " + date:        {"v1.2.3", commit, date},
		"devel-0123456789ab " + date:         {"devel-0123456789ab", commit, date},
		"devel-0123456789ab+changes " + date: {"devel-0123456789ab+changes", commit, date},
		"v1.2.3 " + date:                     {"v1.2.3", "", date},
		"v1.2.3":                             {"v1.2.3", "", ""},
	} {
		if got := b.String(); got != want {
			t.Errorf("%+v prints %q, want %q", b, got, want)
		}
	}
}
