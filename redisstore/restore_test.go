package redisstore_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
)

// The end that a token is sealed with is of the clock of the server that lost it. The
// record gets one by the clock of the server to which it is restored.
func TestASealedTokenIsRestoredToAServerWithAnotherClock(t *testing.T) {
	const life = 2 * time.Hour
	for name, ahead := range map[string]time.Duration{"the same": 0, "an hour ahead": time.Hour, "an hour behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			server, now := miniredis.RunT(t), time.Now().Truncate(time.Millisecond)
			server.SetTime(now.Add(ahead))
			restorer := open(t, "redis://"+server.Addr(), redisstore.Options{Sealer: ring(t, grantKeys)})
			loaded(t, restorer, "a") // as a process does that finds the record missing
			lost := coordinator.Record{
				Token: coordinator.NewToken("token"), Generation: coordinator.Fence(now.Add(-time.Hour).UnixMicro()), IssuedBy: "p",
				IssuedAt: now.Add(-life / 2), ExpiresAt: now.Add(life / 2), TTL: life/2 - coordinator.Margin(life),
			}
			if _, err := restorer.Restore(t.Context(), "a", lost); err != nil {
				t.Fatalf("Restore() = %v", err)
			}
			s := loaded(t, open(t, "redis://"+server.Addr(), redisstore.Options{Sealer: ring(t, grantKeys)}), "a")
			if s.Err != nil || !s.Record.Token.Equal(lost.Token) {
				t.Errorf("another process reads generation %d, %v", s.Record.Generation, s.Err)
			}
		})
	}
}
