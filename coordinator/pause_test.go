package coordinator

import (
	"errors"
	"testing"
	"time"
)

func TestPausesWidenWhileTheStoreIsAway(t *testing.T) {
	now, away := time.Now(), errors.New("away")
	var o *outage
	for i, most := range []time.Duration{
		500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 4 * time.Second,
	} {
		o = o.again(now, away)
		if pause := o.until.Sub(now); pause < most/8 || pause > most {
			t.Errorf("pause %d is %v, want up to %v", i, pause, most)
		}
		if together := o.again(now.Add(time.Millisecond), away); !together.until.Equal(o.until) || together.width != o.width {
			t.Error("an operation that failed together with another one widens the pause")
		}
		now = o.until.Add(time.Millisecond)
	}
	if !o.since.Before(now.Add(-time.Second)) {
		t.Error("the outage has begun anew")
	}
}
