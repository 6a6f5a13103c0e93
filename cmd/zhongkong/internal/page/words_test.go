package page

import (
	"strings"
	"testing"
	"time"
)

func TestBothLanguagesHaveTheSameTexts(t *testing.T) {
	for key, text := range english.names {
		other, ok := chinese.names[key]
		if !ok {
			t.Errorf("there is no Chinese for %s", key)
		}
		if strings.Count(text, "%") != strings.Count(other, "%") {
			t.Errorf("%s: %q and %q take different arguments", key, text, other)
		}
	}
	for key := range chinese.names {
		if _, ok := english.names[key]; !ok {
			t.Errorf("there is no English for %s", key)
		}
	}
	for code := range english.codes {
		if chinese.codes[code] == "" {
			t.Errorf("there is no Chinese advice for %d", code)
		}
	}
}

func TestEveryStateHasASentence(t *testing.T) {
	for s := range stateCount {
		for _, w := range languages {
			for _, key := range []string{"state." + s.key(), "sum." + s.key() + ".one"} {
				if w.names[key] == "" {
					t.Errorf("%s: no %s", w.code, key)
				}
			}
		}
	}
}

func TestDurationsAreTheTwoLargestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Second: "1m 1s",
		time.Hour: "1h", time.Hour + 5*time.Second: "1h", 90 * time.Minute: "1h 30m", 49 * time.Hour: "2d 1h", -time.Minute: "1m",
	} {
		if got := english.duration(d); got != want {
			t.Errorf("%v = %q, want %q", d, got, want)
		}
	}
	if got := chinese.duration(90 * time.Second); got != "1 分 30 秒" {
		t.Errorf("in Chinese: %q", got)
	}
}

func TestLanguage(t *testing.T) {
	for _, c := range []struct{ asked, accept, want string }{
		{"zh", "en", "zh"}, {"en", "zh", "en"}, {"xx", "zh-CN,en", "zh"}, {"", "de, zh;q=0.5", "zh"}, {"", "", "en"}, {"", "de", "en"}, {"", ",;", "en"},
	} {
		if got := Language(c.asked, c.accept); got != c.want {
			t.Errorf("Language(%q, %q) = %s, want %s", c.asked, c.accept, got, c.want)
		}
	}
}
