package redisclient

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// answering counts the commands that would be sent, and answers them.
type answering struct {
	noHook
	sent *int
}

func (h answering) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		*h.sent += len(cmds)
		return nil
	}
}

func TestAQueuedCommandOfWhichTheCallersTimeHasPassedIsNotSent(t *testing.T) {
	sent := 0
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	client.AddHook(answering{sent: &sent})
	a := &autopipeline{client: client, timeout: time.Second}

	passed, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Minute))
	defer cancel()
	given, giveUp := context.WithCancel(t.Context())
	giveUp()
	for name, tt := range map[string]struct {
		ctx  context.Context
		want error
	}{
		"an operation":                   {Operation(t.Context(), 0), nil}, // its time begins with the sending
		"an operation, its caller's end": {Operation(passed, time.Second), context.DeadlineExceeded},
		"a context's end":                {passed, context.DeadlineExceeded},
		"an operation, given up":         {Operation(given, time.Second), context.Canceled},
		"given up":                       {given, context.Canceled},
	} {
		sent = 0
		q := &queued{tt.ctx, redis.NewCmd(t.Context(), "evalsha"), make(chan struct{})}
		a.flush([]*queued{q})
		<-q.done
		if want := map[bool]int{true: 1}[tt.want == nil]; sent != want || !errors.Is(q.cmd.Err(), tt.want) {
			t.Errorf("%s: %d commands sent, the error is %v; want %d, %v", name, sent, q.cmd.Err(), want, tt.want)
		}
	}
}
