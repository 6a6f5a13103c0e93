package coordinatortest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// A holder is paused past its lock; its successor refreshes; the late token is
// not stored, and the store says that one more refresh is due.
func ExampleMemStore() {
	ctx := context.Background()
	store := coordinatortest.NewMemStore()
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

// An answer gets lost: the issuer has issued a token that nobody knows, and
// the one before dies.
func ExampleSource() {
	ctx := context.Background()
	source := &coordinatortest.Source{Overlap: -1}
	source.Then(coordinatortest.Outcome{}, coordinatortest.AnswerLost())

	issue, _ := source.Fetch(ctx, coordinator.FetchRequest{Reason: coordinator.ReasonMissing})
	fmt.Println(issue.Token.Reveal(), source.Valid(issue.Token))
	_, err := source.Fetch(ctx, coordinator.FetchRequest{Reason: coordinator.ReasonSchedule, Current: issue.Token})
	fmt.Println(err)
	fmt.Println(issue.Token.Reveal(), source.Valid(issue.Token), "current:", source.Current().Reveal())
	// Output:
	// token-1 true
	// no answer came
	// token-1 false current: token-2
}
