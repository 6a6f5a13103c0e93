package proxy

import (
	"errors"
	"net/url"
	"strings"
)

var (
	errPath       = errors.New("the path holds . or .. segments, backslashes, control characters or broken escapes")
	errWeChatPath = errors.New("no path of WeChat's holds such characters")
)

// splitRoute cuts an escaped path /proxy/NAME/rest. The rest begins with one
// slash at least.
func splitRoute(escaped string) (name, rest string, ok bool) {
	rest, ok = strings.CutPrefix(strings.TrimLeft(escaped, "/"), "proxy/")
	if !ok {
		return "", "", false
	}
	rest = strings.TrimLeft(rest, "/")
	if end := strings.IndexByte(rest, '/'); end >= 0 {
		return rest[:end], rest[end:], end > 0
	}
	return rest, "/", rest != ""
}

// cleanPath checks the escaped path below a route, and returns it with one slash
// at its beginning. It refuses whatever a server could read as a step upwards,
// however often it decodes.
func cleanPath(escaped string) (string, error) {
	escaped = oneSlash(escaped)
	path := escaped
	const mostDecodings = 4
	for level := range mostDecodings {
		if isUnsafe(path) {
			return "", errPath
		}
		if !strings.Contains(path, "%") {
			return escaped, nil
		}
		plain, err := url.PathUnescape(path)
		if err != nil {
			if level == 0 {
				return "", errPath
			}
			return escaped, nil // a % that means itself
		}
		path = plain
	}
	return "", errPath
}

// oneSlash returns a path with one slash at its beginning.
func oneSlash(path string) string {
	for strings.HasPrefix(path, "//") {
		path = path[1:]
	}
	if path == "" || path[0] != '/' {
		return "/" + path
	}
	return path
}

func isUnsafe(path string) bool {
	if strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return true
	}
	for part := range strings.SplitSeq(path, "/") {
		part, _, _ = strings.Cut(part, ";") // parameters of a segment
		if part = strings.TrimSpace(part); part == "." || part == ".." {
			return true
		}
	}
	return false
}

// weChatPath is cleanPath for WeChat's API, whose paths are plain. What means the
// same becomes the same, so that no way of writing an endpoint that takes a
// secret avoids what is done there.
func weChatPath(escaped string) (string, error) {
	if isPlain(escaped) { // as most are
		return escaped, nil
	}
	clean, err := cleanPath(escaped)
	if err != nil {
		return "", err
	}
	if clean, err = url.PathUnescape(clean); err != nil {
		return "", errPath
	}
	var b strings.Builder
	for part := range strings.SplitSeq(clean, "/") {
		if part == "" {
			continue
		}
		if strings.ContainsFunc(part, isForeign) {
			return "", errWeChatPath
		}
		b.WriteString("/" + part)
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}

// isPlain reports whether a path has only what WeChat's have, and no empty segment and
// none that begins with a dot.
func isPlain(path string) bool {
	before := byte(0)
	for i := range len(path) {
		switch c := path[i]; {
		case i == 0 && c != '/', before == '/' && (c == '/' || c == '.'), c != '/' && isForeign(rune(c)):
			return false
		default:
			before = c
		}
	}
	return before != '/' && before != 0
}

func isForeign(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.', r == '~':
		return false
	}
	return true
}
