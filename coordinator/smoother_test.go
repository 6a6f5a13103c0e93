package coordinator

import (
	"fmt"
	"testing"
	"time"
)

func TestFewAccountsAreNoBurst(t *testing.T) {
	var c smoother
	now := time.Now()
	for i := range burstFrom {
		if c.count(fmt.Sprint(i), now, burstFrom, time.Hour) {
			t.Fatalf("count(%d of %d at once) = true, want false", i+1, burstFrom)
		}
	}
}

func TestAColdStartOfManyIsABurst(t *testing.T) {
	const accounts = 100_000
	var c smoother
	now := time.Now()
	kept := 0
	for i := range accounts { // 5,000 a second
		now = now.Add(200 * time.Microsecond)
		if !c.count(fmt.Sprint(i), now, accounts, time.Hour) {
			kept++
		}
	}
	if kept > burstFrom+10 {
		t.Errorf("%d of a burst kept their time, want about %d", kept, burstFrom)
	}
}

func TestOneAccountThatIsRefreshedAgainAndAgainIsNoBurst(t *testing.T) {
	const accounts = 200
	var c smoother
	loud, others := "loud", make([]string, accounts)
	for i := range others {
		others[i] = fmt.Sprint(i)
	}
	now := time.Now()
	for i := range 6 * 60 { // six hours, a forced refresh a minute
		now = now.Add(time.Minute)
		if c.count(loud, now, accounts, time.Hour) {
			t.Fatalf("count(forced refresh %d of one account) = true, want false", i+1)
		}
		for n := range accounts / 60 { // and the usual flow beside it
			if c.count(others[(3*i+n)%accounts], now, accounts, time.Hour) {
				t.Fatalf("count(another account in minute %d) = true, want false", i+1)
			}
		}
	}
}

func TestManyAccountsThatAreForcedTogetherAreABurst(t *testing.T) {
	const accounts = 200
	var c smoother
	now := time.Now()
	apart := 0
	for i := range accounts {
		now = now.Add(100 * time.Millisecond)
		a := fmt.Sprint(i)
		for range 3 { // reported thrice each
			if c.count(a, now, accounts, time.Hour) && i >= burstFrom+10 {
				apart++
			}
		}
	}
	if want := 3 * (accounts - burstFrom - 10); apart != want {
		t.Errorf("%d of %d refreshes of a burst were sent apart", apart, want)
	}
}

func TestTheUsualFlowIsNoBurst(t *testing.T) {
	const accounts = 100_000
	var c smoother
	now := time.Now()
	for i := range 1000 { // the end of a cold start
		c.count(fmt.Sprint(i), now, accounts, time.Hour)
	}
	now = now.Add(burstMemory + time.Second)
	for i := range 10_000 {
		now = now.Add(time.Hour / accounts)
		if c.count(fmt.Sprint(1000+i), now, accounts, time.Hour) {
			t.Fatalf("count(token %d of the usual flow) = true, want false", i+1)
		}
	}
}

func TestABurstGoesApartOverTheWholeInterval(t *testing.T) {
	var thirds [3]int
	for range 3000 {
		at := scatter(time.Hour)
		if at < time.Hour/burstShare || at > time.Hour {
			t.Fatalf("scatter(1h) = %v, want between 1m and 1h", at)
		}
		thirds[min(int(3*at/time.Hour), 2)]++
	}
	for i, n := range thirds {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 3000 in third %d, want about 1000", n, i+1)
		}
	}
}
