package httpapi

import (
	"log/slog"

	"github.com/zhongkong/zhongkong/coordinator"
)

// The levels of the audit lines.
const (
	levelRefused = slog.LevelWarn
	levelUnnamed = slog.LevelDebug // no credentials: browsers always ask once without
	levelAudit   = slog.LevelInfo
	levelFailed  = slog.LevelError
)

// short cuts what a stranger chose.
func short(s string) string {
	const longest = 128
	if len(s) > longest {
		return s[:longest] + "..."
	}
	return s
}

// attrs makes attributes of pairs of strings: an audit line has nothing that
// could print more than it shows here.
func attrs(pairs ...string) []slog.Attr {
	made := make([]slog.Attr, 0, len(pairs)/2+1)
	for i := 0; i+1 < len(pairs); i += 2 {
		made = append(made, slog.String(pairs[i], pairs[i+1]))
	}
	return made
}

func generationAttr(r coordinator.Record) slog.Attr {
	return slog.Uint64("generation", uint64(r.Generation))
}
