package wechatapi

import (
	"strings"
	"testing"
	"time"
)

func TestRidIsLikeWeChats(t *testing.T) {
	if got := rid(time.Unix(0x6aac005a, 0)); !strings.HasPrefix(got, "6aac005a-") || len(got) != 26 {
		t.Errorf("rid = %s", got)
	}
}
