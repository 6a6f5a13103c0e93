package logging

import (
	"net/url"
	"strings"
)

const (
	maxPath    = 128 // bytes of a path in a line
	maxSegment = 40  // bytes of a segment; names of endpoints are shorter, tokens are longer
)

// Path returns the path of a request as a line may have it: without a query, even if
// its question mark is escaped, and with … for each segment that may be a credential
// and for what is too long.
func Path(path string) string {
	for strings.Contains(path, "%") { // once more than it was escaped
		plain, err := url.PathUnescape(path)
		if err != nil || plain == path {
			break
		}
		path = plain
	}
	path, _, _ = strings.Cut(path, "?")
	var b strings.Builder
	for segment := range strings.SplitAfterSeq(path, "/") {
		name, slash := strings.CutSuffix(segment, "/")
		if b.Len()+len(segment) > maxPath {
			b.WriteString("…")
			break
		}
		if len(name) > maxSegment || strings.ContainsAny(name, "~:=") {
			name = "…"
		}
		b.WriteString(name)
		if slash {
			b.WriteString("/")
		}
	}
	return b.String()
}
