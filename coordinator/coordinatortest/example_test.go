package coordinatortest_test

import (
	"context"
	"fmt"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// An answer is lost: the issuer has issued a token that no process has, and the
// one before is dead.
func ExampleSource() {
	ctx := context.Background()
	source := &coordinatortest.Source{Overlap: -1}
	source.Next(coordinatortest.Outcome{}, coordinatortest.AnswerLost())

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
