package sources

import (
	"testing"
	"time"
)

func TestOverlapsAreThoseOfTheIssuers(t *testing.T) {
	for _, c := range []struct {
		kind string
		v    Values
		want time.Duration
	}{
		{Token, Values{}, 5 * time.Minute},
		{WeComJSAPITicket, Values{}, 5 * time.Minute},
		{HTTP, Values{Text: map[string]string{"preset": "qq_miniprogram"}}, 5 * time.Minute},
		{HTTP, Values{Text: map[string]string{"preset": "getui"}}, 0}, // each call ends the token before
		{OAuth2, Values{}, 5 * time.Minute},
		{OAuth2, Values{Text: map[string]string{"repeat": "kills"}}, 0},
	} {
		k, ok := Find(c.kind)
		if got := k.Overlap(c.v); !ok || got != c.want {
			t.Errorf("%s %v: %v, want %v", c.kind, c.v.Text, got, c.want)
		}
	}
}
