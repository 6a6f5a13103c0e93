package coordinator

import (
	"testing"
	"time"
)

func TestFewAccountsAreNoCrowd(t *testing.T) {
	var c crowd
	now := time.Now()
	for i := range crowdFrom {
		if c.join(&Account{}, now, crowdFrom, time.Hour) {
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
		if !c.join(&Account{}, now, accounts, time.Hour) {
			kept++
		}
	}
	if kept > crowdFrom+10 {
		t.Errorf("%d of a crowd kept their time, want about %d", kept, crowdFrom)
	}
}

func TestOneAccountThatIsRefreshedAgainAndAgainIsNoCrowd(t *testing.T) {
	const accounts = 200
	var c crowd
	loud, others := &Account{}, make([]*Account, accounts)
	for i := range others {
		others[i] = &Account{}
	}
	now := time.Now()
	for i := range 6 * 60 { // six hours, a forced refresh a minute
		now = now.Add(time.Minute)
		if c.join(loud, now, accounts, time.Hour) {
			t.Fatalf("join(forced refresh %d of one account) = true, want false", i+1)
		}
		for n := range accounts / 60 { // and the usual flow beside it
			if c.join(others[(3*i+n)%accounts], now, accounts, time.Hour) {
				t.Fatalf("join(another account in minute %d) = true, want false", i+1)
			}
		}
	}
}

func TestManyAccountsThatAreForcedTogetherAreACrowd(t *testing.T) {
	const accounts = 200
	var c crowd
	now := time.Now()
	apart := 0
	for i := range accounts {
		now = now.Add(100 * time.Millisecond)
		a := &Account{}
		for range 3 { // reported thrice each
			if c.join(a, now, accounts, time.Hour) && i >= crowdFrom+10 {
				apart++
			}
		}
	}
	if want := 3 * (accounts - crowdFrom - 10); apart != want {
		t.Errorf("%d of %d refreshes of a crowd were sent apart", apart, want)
	}
}

func TestTheUsualFlowIsNoCrowd(t *testing.T) {
	const accounts = 100_000
	var c crowd
	now := time.Now()
	for range 1000 { // the end of a cold start
		c.join(&Account{}, now, accounts, time.Hour)
	}
	now = now.Add(crowdMemory + time.Second)
	for i := range 10_000 {
		now = now.Add(time.Hour / accounts)
		if c.join(&Account{}, now, accounts, time.Hour) {
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
