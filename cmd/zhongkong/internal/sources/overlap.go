package sources

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// weChatOverlap is how long WeChat accepts a token that was replaced.
const weChatOverlap = 5 * time.Minute

// Overlap returns for how long an account's issuer accepts a token that a call has
// replaced. Where no call ends a token, WeChat's is taken.
func (k Kind) Overlap(v Values) time.Duration {
	switch k.Name {
	case HTTP:
		if i, err := Issuer(v); err == nil && i.Description().Repeat == coordinator.RepeatKills {
			return time.Duration(i.Overlap)
		}
	case OAuth2:
		if v.Text["repeat"] == "kills" {
			return 0
		}
	}
	return weChatOverlap
}
