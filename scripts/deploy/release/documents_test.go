package main

import "testing"

func TestLinksToWhatIsNotPublishedLeadToTheRepository(t *testing.T) {
	s := source{commit: "c0ffee"}
	published := []string{"README.md", "cmd/zhongkong/docs/start.md", "cmd/zhongkong/docs/pictures/page.png", ".github/CHANGELOG.md"}
	const there = "https://github.com/zhongkong/zhongkong/blob/c0ffee/"
	for text, want := range map[string]string{
		"[a](start.md)":                      "[a](start.md)",
		"![a](pictures/page.png)":            "![a](pictures/page.png)",
		"[a](start.md#for-real)":             "[a](start.md#for-real)",
		"[a](../../../README.md)":            "[a](../../../README.md)",
		"[a](#here)":                         "[a](#here)",
		"[a](https://example.com/b#c)":       "[a](https://example.com/b#c)",
		"[a](../DESIGN.md#b)":                "[a](" + there + "cmd/zhongkong/DESIGN.md#b)",
		"[a](../../../scripts/soak) and b":   "[a](" + there + "scripts/soak) and b",
		"[a](../../../.github/CHANGELOG.md)": "[a](" + there + ".github/CHANGELOG.md)",
	} {
		if got := string(s.linked("cmd/zhongkong/docs/operate.md", []byte(text), published)); got != want {
			t.Errorf("%s becomes %s, want %s", text, got, want)
		}
	}
}
