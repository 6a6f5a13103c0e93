package redisclient

import (
	"strings"

	"github.com/redis/go-redis/v9"
)

// IsPermission reports whether Redis does not permit its user to do something. Of
// an EXEC it says so in other words, and of a command in a transaction it says it
// before the EXEC.
func IsPermission(err error) bool {
	return redis.IsPermissionError(err) || redis.HasErrorPrefix(err, "EXECABORT")
}

// DeniedCommand returns the command that a NOPERM error names, "" if the error is
// about something else.
func DeniedCommand(text string) string {
	_, rest, _ := strings.Cut(text, "to run the '")
	command, _, _ := strings.Cut(rest, "'")
	return command
}
