package coordinator

import (
	"testing"
	"time"
)

func TestFewAccountsAreNoCrowd(t *testing.T) {
	var c crowd
	now := time.Now()
	for i := range crowdFrom {
		if c.join(now, crowdFrom, time.Hour) {
			t.Fatalf("join(%d of %d at once) = true, want false", i+1, crowdFrom)
		}
	}
}

func TestAColdStartOfManyIsACrowd(t *testing.T) {
	const accounts = 100_000
	var c crowd
	now := time.Now()
	kept := 0
	for range accounts { // 5,000 a second
		now = now.Add(200 * time.Microsecond)
		if !c.join(now, accounts, time.Hour) {
			kept++
		}
	}
	if kept > crowdFrom+10 {
		t.Errorf("%d of a crowd kept their time, want about %d", kept, crowdFrom)
	}
}

func TestTheUsualFlowIsNoCrowd(t *testing.T) {
	const accounts = 100_000
	var c crowd
	now := time.Now()
	for range 1000 { // the end of a cold start
		c.join(now, accounts, time.Hour)
	}
	now = now.Add(crowdMemory + time.Second)
	for i := range 10_000 {
		now = now.Add(time.Hour / accounts)
		if c.join(now, accounts, time.Hour) {
			t.Fatalf("join(token %d of the usual flow) = true, want false", i+1)
		}
	}
}

func TestACrowdGoesApartOverTheWholeInterval(t *testing.T) {
	var thirds [3]int
	for range 3000 {
		at := apart(time.Hour)
		if at < time.Hour/crowdShare || at > time.Hour {
			t.Fatalf("apart(1h) = %v, want between 1m and 1h", at)
		}
		thirds[min(int(3*at/time.Hour), 2)]++
	}
	for i, n := range thirds {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 3000 in third %d, want about 1000", n, i+1)
		}
	}
}
