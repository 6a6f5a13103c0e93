package redisclient

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// noHook passes everything through. The hooks of this package embed it and
// override what they need.
type noHook struct{}

var _ redis.Hook = noHook{}

// DialHook implements [redis.Hook].
func (noHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (noHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements [redis.Hook].
func (noHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// errorHook is a hook that is called with the error of each command and each
// pipeline.
type errorHook struct {
	noHook
	call func(ctx context.Context, err error)
}

var _ redis.Hook = errorHook{}

// ProcessHook implements [redis.Hook].
func (h errorHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.call(ctx, err)
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (h errorHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		h.call(ctx, err)
		return err
	}
}
