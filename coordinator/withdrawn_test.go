package coordinator

import "testing"

func TestATokenThatIsWithdrawnWakesThoseWhoWaitForTheNext(t *testing.T) {
	for name, fx := range map[string]struct {
		effects
		wakes bool
	}{
		"withdrawn":    {effects{serve: true}, true},
		"still served": {effects{serve: true, served: new(held)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			changed := make(chan struct{})
			a := &Account{changed: changed}
			a.served.Store(new(held))
			a.carryOut(fx.effects)
			select {
			case <-changed:
				if !fx.wakes {
					t.Error("they wake")
				}
			default:
				if fx.wakes {
					t.Error("they do not wake")
				}
			}
		})
	}
}
