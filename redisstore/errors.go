package redisstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/internal/layout"
	"github.com/zhongkong/zhongkong/redisstore/internal/redisclient"
)

// ErrDenied is wrapped by errors that mean that Redis does not permit its user to do
// this: a wrong password, a missing ACL rule. Package redisadmin lists the rules that
// a process needs, and finds out which are missing. The errors also match
// coordinator.ErrDenied.
var ErrDenied error = denied{}

type denied struct{}

func (denied) Error() string        { return "redisstore: Redis denies it" }
func (denied) Is(target error) bool { return target == coordinator.ErrDenied }

// ErrUnable is wrapped by errors that mean that Redis answers, but cannot do this
// now: it has no memory left, has too few replicas, or is a replica itself. They also
// wrap coordinator.ErrUnreachable.
var ErrUnable = errors.New("redisstore: Redis cannot do it now")

// DataError means that a key has contents that a Store does not write. Its text does
// not quote them.
type DataError struct {
	Key     string
	Field   string // "": the key as a whole
	Problem string // "is not a whole number"
	Fix     string // what to do; "": to repair the key, or to delete it
}

func (e *DataError) Error() string {
	what := fmt.Sprintf("the key %q", e.Key)
	if e.Field != "" {
		what = fmt.Sprintf("the field %q of the key %q", e.Field, e.Key)
	}
	fix := e.Fix
	if fix == "" {
		fix = fmt.Sprintf("repair it, or delete the key (redis-cli del '%s'); it is written again when it is needed", e.Key)
	}
	return fmt.Sprintf("redisstore: %s %s; %s", what, e.Problem, fix)
}

// TLSError is an error whose cause is that the two sides disagree about TLS. Only
// a change of the configuration, here or at the server, can fix it.
type TLSError struct {
	Err error  // what is wrong
	Fix string // what to do
}

func (e *TLSError) Error() string { return fmt.Sprintf("%v; %s", e.Err, e.Fix) }

// Unwrap returns Err.
func (e *TLSError) Unwrap() error { return e.Err }

// wrongType returns err; if it says that a key is of another type than kind, as a DataError.
func wrongType(err error, key, kind string) error {
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return &DataError{Key: key, Problem: "is not a " + kind}
	}
	return err
}

// isData reports whether err is about the contents of one account.
func isData(err error) bool {
	_, ok := errors.AsType[*DataError](err)
	return ok || errors.Is(err, coordinator.ErrSealed)
}

// isRefused reports whether err is a server's answer, and not that it cannot do
// anything now.
func isRefused(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok && !errors.Is(err, coordinator.ErrUnreachable)
}

// isOutOfMemory reports whether a server has refused a command because it has reached
// maxmemory.
func isOutOfMemory(err error) bool { return redis.HasErrorPrefix(err, "OOM") }

// transientFix returns what to do about a server that answers that it cannot do
// something now; "" if the answer means something else.
func transientFix(answer string) string {
	word, _, _ := strings.Cut(answer, " ")
	switch word {
	case "OOM":
		return "free memory or raise maxmemory"
	case "NOREPLICAS":
		return "connect the replicas that min-replicas-to-write asks for, or ask for fewer"
	case "READONLY":
		return "it is a replica: give the address of the master"
	case "MASTERDOWN":
		return "it is a replica that has lost its master: give the address of the master, or bring it back"
	case "MISCONF":
		return "it cannot save to its disk: its log says why"
	case "BUSY", "UNKILLABLE":
		return "a script keeps it busy: SCRIPT KILL ends it"
	case "DENIED":
		return "it accepts connections of its own machine alone: give it a password, or turn protected-mode off"
	case "LOADING":
		return "it is reading its data: wait"
	case "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK":
		return "the cluster is changing or has lost a node: see CLUSTER INFO"
	}
	if strings.HasPrefix(answer, "max number of clients") {
		return "raise maxclients, or close connections"
	}
	return ""
}

// fault maps an error of the client to the errors that a Store promises. ctx is the
// caller's own. It returns nil for nil.
func (s *Store) fault(ctx context.Context, op, account string, err error) error {
	if err == nil {
		return nil
	}
	about := op
	if account != "" {
		about = fmt.Sprintf("%s %q", op, account)
	}
	if errors.Is(err, coordinator.ErrUnreachable) || isData(err) {
		return fmt.Errorf("%s: %w", about, err)
	}
	if away, ok := errors.AsType[*redisclient.TurnedAwayError](err); ok {
		return fmt.Errorf("%s: %w", about, s.serverError(away.Answer()))
	}
	if answer, ok := errors.AsType[redis.Error](err); ok && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("%s: %w", about, s.serverError(answer))
	}
	if ended := ctx.Err(); ended != nil {
		// The client may report an expired deadline as an I/O timeout.
		if errors.Is(ended, context.Canceled) {
			return fmt.Errorf("%s: %w", about, ended)
		}
		return fmt.Errorf("%s: %w: %w", about, coordinator.ErrUnreachable, ended)
	}
	if found := s.client.TLSError(err); found != nil {
		return fmt.Errorf("%s: %w: %w", about, coordinator.ErrUnreachable, (*TLSError)(found))
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s: %w: no answer within %v: %w", about, coordinator.ErrUnreachable, s.timeout, err)
	}
	return fmt.Errorf("%s: %w: %w", about, coordinator.ErrUnreachable, err)
}

// serverError maps an error that the server has answered.
func (s *Store) serverError(answer redis.Error) error {
	text := answer.Error()
	plain := strings.TrimPrefix(text, "ERR ")
	switch {
	case strings.HasPrefix(text, "ZKDATA "):
		return s.fixGrant(dataError(text))
	case redis.IsAuthError(answer), strings.HasPrefix(plain, "AUTH "):
		// Nothing can be read or written until an operator has changed one side.
		return fmt.Errorf("%w: %w: %w; check the user and the password of the Redis URL",
			coordinator.ErrUnreachable, ErrDenied, answer)
	case redisclient.IsPermission(answer) || strings.HasPrefix(plain, "The user executing the script"):
		return fmt.Errorf("%w: %w; %s", ErrDenied, answer, s.rule(text))
	case transientFix(plain) != "":
		return fmt.Errorf("%w: %w: %w; %s", coordinator.ErrUnreachable, ErrUnable, answer, transientFix(plain))
	case strings.HasPrefix(plain, "unknown command"):
		return fmt.Errorf("%w (it is forbidden or renamed there, or the server is older than Redis 7.0)", answer)
	}
	return answer
}

// rule names the missing ACL rule as precisely as the server's answer does.
func (s *Store) rule(text string) string {
	command := redisclient.DeniedCommand(text)
	switch {
	case command != "":
		return "the rule +" + command + " is missing"
	case strings.Contains(text, "channel"):
		return "a rule for the channels " + s.keys.Pattern(layout.Refreshed) + ", " +
			s.keys.Pattern(layout.Wanted) + " or " + s.keys.Pattern(layout.Begun) + " is missing (&...)"
	case strings.Contains(text, "key"):
		grants, _ := s.keys.GrantPattern()
		return "a rule for the keys " + s.keys.Pattern("*") + " is missing (~... or %R~...), or, where accounts have grants, ~" + grants
	}
	return "a command that the scripts use is missing (of those for grants +info); `zhongkong doctor` finds out which"
}

// dataError decodes "ZKDATA <field> <problem> <key>" of prelude.lua.
func dataError(text string) error {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) != 4 {
		return errors.New("redisstore: Redis holds something unexpected")
	}
	e := &DataError{Key: parts[3], Field: parts[1]}
	if e.Field == "-" {
		e.Field = ""
	}
	kind, isKind := strings.CutPrefix(parts[2], "not-")
	switch {
	case parts[2] == "missing":
		e.Problem = "is missing"
	case parts[2] == "not-whole":
		e.Problem = "is not a whole number"
	case isKind:
		e.Problem = "is not a " + strings.ReplaceAll(kind, "-", " ")
	default:
		e.Problem = "is not as expected"
	}
	return e
}
