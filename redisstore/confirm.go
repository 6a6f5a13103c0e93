package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// confirm is what the writes of a script wait for, on the connection of the script: WAIT
// and WAITAOF return at once on a connection that has written nothing.
type confirm int

const (
	unconfirmed confirm = iota

	// confirmedInReplicas: until Options.Replicas have them. Too few are not an error:
	// after a failover of a pair there is no replica until the old master is back, and
	// a token that is stored on one server is better than none.
	confirmedInReplicas

	// confirmedOnDisk: until Options.Replicas and the server itself have them, where
	// the server can tell on their disks. Too few are an error. The script is safe to
	// repeat, and writes again when it is repeated.
	confirmedOnDisk
)

// How long a grant waits for its confirmation at most: until the replicas have it, and
// then until it is on the disks. With appendfsync everysec that takes a second on the
// server and on a replica, and up to one more until the replica reports it.
const (
	grantInReplicas = time.Second
	grantOnDisk     = 3 * time.Second
)

// maxConfirming is how many grants wait for their confirmation at once. Each keeps a
// connection busy, and the others are needed for tokens: a pool has ten for each processor.
const maxConfirming = 8

// inReplicas is how a token is confirmed.
func (s *Store) inReplicas() confirm {
	if s.replicas > 0 {
		return confirmedInReplicas
	}
	return unconfirmed
}

// atMost is how long the confirmation may take in addition to Options.Timeout.
func (c confirm) atMost() time.Duration {
	if c == confirmedOnDisk {
		return grantInReplicas + grantOnDisk
	}
	return 0
}

// runConfirmed runs a script and waits for the confirmation of its writes. missing is why
// there is none.
func (s *Store) runConfirmed(ctx context.Context, client redis.UniversalClient, c call, keys []string) (answer any, missing, err error) {
	single, ok := client.(*redis.Client)
	switch {
	case !ok:
		// A cluster client, because the slot is being moved: commands of one
		// pipeline go to different nodes.
		missing = errors.New("it is not certain which server has it")
		answer, err = s.runScript(ctx, client, c.script, keys, c.args...).Result()
	case c.confirm == confirmedOnDisk:
		answer, missing, err = s.runAndAsk(ctx, s.client.ForBlocking(single, s.timeout+c.confirm.atMost()), c, keys)
	default:
		answer, missing, err = s.runAndAsk(ctx, single, c, keys)
	}
	if err != nil || c.confirm == confirmedOnDisk {
		return answer, missing, err
	}
	if _, idle := askedForDay(answer); missing != nil && !idle {
		s.unconfirmed.Add(1)
		s.log.Warn("fewer replicas than Options.Replicas have confirmed a write; a failover now may lose it",
			"op", c.op, "account", c.account, "replicas", s.replicas, "waited_seconds", s.wait.Seconds(), "error", missing)
	}
	return answer, nil, nil
}

// runAndAsk runs a script by its hash, or by its text if the server may not have it, and asks
// for its confirmation.
func (s *Store) runAndAsk(ctx context.Context, client *redis.Client, c call, keys []string) (answer any, missing, err error) {
	hash := func(p redis.Pipeliner) *redis.Cmd { return c.script.EvalSha(ctx, p, keys, c.args...) }
	text := func(p redis.Pipeliner) *redis.Cmd { return c.script.Eval(ctx, p, keys, c.args...) }
	if s.firstUse(c.script.Hash()) {
		hash = text
	}
	answer, missing, err = s.ask(ctx, client, c, hash)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		answer, missing, err = s.ask(ctx, client, c, text)
	}
	return answer, missing, err
}

// ask sends the script, and the questions for its confirmation, in one pipeline.
func (s *Store) ask(ctx context.Context, client *redis.Client, c call, script func(redis.Pipeliner) *redis.Cmd) (answer any, missing, err error) {
	pipe := client.Pipeline()
	run := script(pipe)
	wait, waitAOF := s.wait, time.Duration(0)
	if c.confirm == confirmedOnDisk {
		wait, waitAOF = s.grantWaits(ctx)
	}
	var inReplicas, onDisk *redis.Cmd
	if s.replicas > 0 {
		inReplicas = pipe.Do(ctx, "wait", s.replicas, atLeastOneMilli(wait))
	}
	if c.confirm == confirmedOnDisk {
		onDisk = pipe.Do(ctx, "waitaof", 1, s.replicas, atLeastOneMilli(waitAOF))
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	if answer, err = run.Result(); err != nil && !answered(answer) {
		return nil, nil, err
	}
	missing = errWithoutWAITAOF
	if onDisk != nil {
		missing = s.missingOnDisk(ctx, c, onDisk)
		s.olderServer.Store(errors.Is(missing, errWithoutWAITAOF))
	}
	if errors.Is(missing, errWithoutWAITAOF) {
		missing = nil // of a single server: it relies on appendfsync always, see Options.Replicas
		if inReplicas != nil {
			missing = s.missingInReplicas(ctx, c, inReplicas)
		}
	}
	return answer, missing, nil
}

// answered reports whether a script has answered that. If the connection fails afterwards,
// go-redis gives the error of the questions to the script, too; of an answer that was not read
// to its end it leaves a value that is empty.
func answered(v any) bool {
	switch v := v.(type) {
	case []any:
		return v != nil
	case string:
		return v != ""
	}
	return v != nil
}

// missingInReplicas returns what an answer to WAIT says is missing.
func (s *Store) missingInReplicas(ctx context.Context, c call, answer *redis.Cmd) error {
	acks, err := answer.Int64()
	switch {
	case err != nil:
		return s.fault(ctx, "wait", c.account, err)
	case acks < int64(s.replicas):
		return fmt.Errorf("%d of %d replicas have it", acks, s.replicas)
	}
	return nil
}

// grantWaits returns how long the two questions may wait, so that the answers come before
// ctx ends: a connection on which one is outstanding cannot be used again. Only an older
// server needs time for the first one; any other confirms by the second one, for which two
// seconds of a lock's life of three must be left.
func (s *Store) grantWaits(ctx context.Context) (inReplicas, onDisk time.Duration) {
	end, _ := ctx.Deadline() // run has set one
	left := time.Until(end) - s.timeout/4
	if s.replicas > 0 {
		inReplicas = s.wait
		if s.olderServer.Load() {
			inReplicas = grantInReplicas
		}
		inReplicas = min(inReplicas, left/3)
	}
	return inReplicas, min(grantOnDisk, left-inReplicas)
}

// errWithoutWAITAOF says that the server is older than Redis 7.2.
var errWithoutWAITAOF = errors.New("the server does not know WAITAOF")

// missingOnDisk returns what an answer to WAITAOF says is missing.
func (s *Store) missingOnDisk(ctx context.Context, c call, answer *redis.Cmd) error {
	acks, err := answer.Int64Slice()
	switch {
	case err == nil && len(acks) == 2 && acks[0] >= 1 && acks[1] >= int64(s.replicas):
		return nil
	case err == nil:
		return fmt.Errorf("the server's own disk and those of %d replicas must have it; it answers %v", s.replicas, acks)
	case strings.Contains(strings.ToLower(err.Error()), "unknown command"):
		return errWithoutWAITAOF
	case strings.Contains(err.Error(), "appendonly"):
		return fmt.Errorf("%w; grants need a server that writes to its disk: CONFIG SET appendonly yes, and in redis.conf", err)
	}
	return s.fault(ctx, "waitaof", c.account, err)
}
