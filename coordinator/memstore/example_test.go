package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// A process is paused for longer than its lock lasts. Its successor refreshes. The
// token that comes late is not stored, and its attempt is overdue: one more
// refresh follows.
func ExampleStore() {
	ctx := context.Background()
	store := memstore.New()
	paused, successor := store.Instance("paused"), store.Instance("successor")
	limits := coordinator.Limits{PerDay: 2000}
	begin := coordinator.BeginRequest{Reason: coordinator.ReasonMissing, TTL: 3 * time.Second, Limits: limits}

	first, _ := paused.Begin(ctx, "wx1", begin)
	store.StealLock("wx1")
	second, _ := successor.Begin(ctx, "wx1", begin)
	_, err := successor.Commit(ctx, "wx1", coordinator.CommitRequest{
		Attempt: second, Token: coordinator.NewToken("token-2"), Lifetime: 2 * time.Hour,
	})
	fmt.Println(err)
	_, err = paused.Commit(ctx, "wx1", coordinator.CommitRequest{
		Attempt: first, Token: coordinator.NewToken("token-1"), Lifetime: 2 * time.Hour,
	})
	fmt.Println(errors.Is(err, coordinator.ErrSuperseded))

	state := store.Peek("wx1")
	fmt.Println(state.Record.Token.Reveal(), "by", state.Record.IssuedBy, "overdue:", state.Overdue())
	// Output:
	// <nil>
	// true
	// token-2 by successor overdue: 1
}
