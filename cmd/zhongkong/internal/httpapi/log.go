package httpapi

import (
	"log/slog"

	"github.com/zhongkong/zhongkong/coordinator"
)

// The levels of the audit lines.
const (
	levelRefused   = slog.LevelWarn
	levelAnonymous = slog.LevelDebug // no credentials: a browser's first request has none
	levelRefresh   = slog.LevelInfo
	levelFailed    = slog.LevelError
)

// attrs makes attributes of pairs of strings. Audit lines are made of strings
// alone, so that no value can print more than is visible in the code.
func attrs(pairs ...string) []slog.Attr {
	made := make([]slog.Attr, 0, len(pairs)/2+2)
	for i := 0; i+1 < len(pairs); i += 2 {
		made = append(made, slog.String(pairs[i], pairs[i+1]))
	}
	return made
}

func generationAttr(generation coordinator.Fence) slog.Attr {
	return slog.Uint64("generation", uint64(generation))
}
