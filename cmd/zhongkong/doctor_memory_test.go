package main

import (
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

func TestDoctorSaysWhetherTheAccountsFit(t *testing.T) {
	t.Parallel()
	const mb = 1_000_000
	for name, test := range map[string]struct {
		used, limit      int64
		mode             string
		accounts, absent int
		masters          int
		result, says     string
	}{
		"no limit":                        {2 * mb, 0, "standalone", 1000, 1000, 1, resultOK, "1000 accounts need about 3.6 MB for ever; Redis uses 2.0 MB, and maxmemory is not set"},
		"enough":                          {2 * mb, 10 * mb, "standalone", 1000, 1000, 1, resultOK, "maxmemory is 10.0 MB"},
		"those that are there count once": {155 * mb, 180 * mb, "standalone", 100_000, 0, 1, resultOK, "152.1 MB"},
		"those that are absent":           {155 * mb, 180 * mb, "standalone", 110_000, 10_000, 1, resultWarn, "no token can be stored"},
		"more than there is":              {155 * mb, 180 * mb, "standalone", 130_000, 30_000, 1, resultFail, "no token can be stored"},
		"nearly all of it is for them":    {15 * mb, 18 * mb, "standalone", 10_000, 0, 1, resultWarn, "need about 17.1 MB"},
		"others use the rest":             {95 * mb, 100 * mb, "standalone", 1, 0, 1, resultWarn, "no token can be stored"},
		"a cluster keeps logs":            {2 * mb, 500 * mb, "cluster", 100_000, 100_000, 3, resultOK, "this master needs about 384.0 MB"},
	} {
		t.Run(name, func(t *testing.T) {
			x := checks{findings: &[]finding{}}
			x.fits(redisadmin.Diagnosis{UsedMemory: test.used, MaxMemory: test.limit, Mode: test.mode}, test.accounts, test.absent, test.masters)
			got := (*x.findings)[0]
			if got.Check != "memory" || got.Result != test.result || !strings.Contains(got.Detail, test.says) || (got.Result != resultOK) != (got.Fix != "") {
				t.Errorf("found %+v, want %s: %s", got, test.result, test.says)
			}
		})
	}
}
