package main

import "testing"

func TestTheVersionNamesCommitAndDateOnce(t *testing.T) {
	const commit, date = "0123456789abcdef0123", "2026-01-02T03:04:05Z"
	for want, b := range map[string]build{
		"v1.2.3 0123456789ab " + date:                  {"v1.2.3", commit, date},
		"devel-0123456789ab " + date:                   {"devel-0123456789ab", commit, date},
		"devel-0123456789ab+changes " + date:           {"devel-0123456789ab+changes", commit, date},
		"v1.2.4-0.20260102030405-0123456789ab " + date: {"v1.2.4-0.20260102030405-0123456789ab", commit, date},
		"v1.2.3 " + date:                               {"v1.2.3", "", date},
		"v1.2.3":                                       {"v1.2.3", "", ""},
	} {
		if got := b.String(); got != want {
			t.Errorf("%+v prints %q, want %q", b, got, want)
		}
	}
}

func TestAPseudoVersionTellsCommitAndDate(t *testing.T) {
	const commit, date = "0123456789ab", "2026-01-02T03:04:05Z"
	for version, want := range map[string]build{
		"v0.0.0-20260102030405-0123456789ab":         {"", commit, date},
		"v1.2.4-0.20260102030405-0123456789ab+dirty": {"", commit, date},
		"v1.2.3-rc.1.0.20260102030405-0123456789ab":  {"", commit, date},
		"v1.2.3": {},
	} {
		want.version = version
		if got := (build{version: version}).withPseudoVersion(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
