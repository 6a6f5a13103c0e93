package redisclient

import "github.com/redis/go-redis/v9"

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
