package redisstore

import (
	"iter"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// newScript puts a script together of these texts; see assemble.
func newScript(texts ...string) *redis.Script { return redis.NewScript(assemble(texts...)) }

// assemble returns the script that the last text is, after those declarations of the
// other texts that it uses; in these a blank line ends a declaration. Constants are
// written in the place of their names. Redis makes each function and each variable anew
// whenever it runs a script, so a script should have no others.
//
// Indentation and blank lines are left out, because after a restart of Redis each
// connection may have to send whole scripts again.
func assemble(texts ...string) string {
	last := len(texts) - 1
	used := make(map[string]bool)
	use := func(text string) {
		for word, is := range words(text) {
			used[word] = used[word] || is
		}
	}
	use(texts[last])
	kept := []string{texts[last]} // from the last to the first
	for _, text := range slices.Backward(texts[:last]) {
		for _, declaration := range slices.Backward(strings.Split(text, "\n\n")) {
			if slices.ContainsFunc(declared(declaration), func(name string) bool { return used[name] }) {
				use(declaration)
				kept = append(kept, declaration)
			}
		}
	}
	slices.Reverse(kept)
	values := constants()
	var out strings.Builder
	for line := range strings.Lines(strings.Join(kept, "\n")) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		for word, is := range words(line) {
			if value, ok := values[word]; ok && is {
				word = value
			}
			out.WriteString(word)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// declared returns the names that a declaration declares: the local functions and
// variables of lines that are not indented.
func declared(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "local ")
		if !ok {
			continue
		}
		if name, ok := strings.CutPrefix(rest, "function "); ok {
			rest, _, _ = strings.Cut(name, "(")
		}
		rest, _, _ = strings.Cut(rest, "=")
		for name := range strings.SplitSeq(rest, ",") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}

// words yields a text of Lua in pieces, and of each whether it is a word: not
// punctuation, and not in quotes.
func words(text string) iter.Seq2[string, bool] {
	isWord := func(c byte) bool {
		return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	return func(yield func(string, bool) bool) {
		for text != "" {
			n, word := 1, isWord(text[0])
			switch {
			case word:
				for n < len(text) && isWord(text[n]) {
					n++
				}
			case text[0] == '\'':
				n += 1 + strings.IndexByte(text[1:], '\'')
			default:
				for n < len(text) && text[n] != '\'' && !isWord(text[n]) {
					n++
				}
			}
			if !yield(text[:n], word) {
				return
			}
			text = text[n:]
		}
	}
}
