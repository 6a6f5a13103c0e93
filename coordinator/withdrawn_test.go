package coordinator

import (
	"testing"
	"time"
)

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

// A round has found a newer record, and has not ended: until then nothing else serves it.
func TestWhenATokenEndsTheNewerOneThatIsHeldIsServed(t *testing.T) {
	v, e := fresh(), testEnv()
	before := v.held
	v.install(recordOf(8, time.Hour), e)
	if fx := v.expire(before, e); fx.serve {
		t.Error("what is served changes before its end")
	}
	before.until = e.now
	if fx := v.expire(before, e); !fx.serve || fx.served != v.held || fx.expired != 0 {
		t.Errorf("effects %+v, want the newer record to be served", fx)
	}
	if fx := v.expire(v.held, e); fx.serve {
		t.Error("the newer one is withdrawn")
	}
}
