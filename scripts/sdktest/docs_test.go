package sdktest

import (
	"os"
	"strings"
	"testing"
)

const page = "../../cmd/zhongkong/docs/sdks.md"

// block is the nth code block of a language on the page about SDKs.
func block(t *testing.T, language string, n int) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(text), "\n```"+language+"\n")[1:] {
		if n == 0 {
			code, _, _ := strings.Cut(part, "\n```")
			return code + "\n"
		}
		n--
	}
	t.Fatalf("%s has too few code blocks of %s", page, language)
	return ""
}
