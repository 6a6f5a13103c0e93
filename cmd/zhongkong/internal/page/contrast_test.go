package page

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// colour is one of sRGB, from 0 to 1.
type colour [3]float64

// over mixes some of c into another.
func (c colour) over(other colour, share float64) colour {
	for i := range c {
		c[i] = c[i]*share + other[i]*(1-share)
	}
	return c
}

// luminance is that of WCAG 2.
func (c colour) luminance() float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v := c[i] / 12.92
		if c[i] > 0.04045 {
			v = math.Pow((c[i]+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// scheme reads the colours of one `:root` of the style sheet, and its tint.
func scheme(t *testing.T, css string) (map[string]colour, float64) {
	t.Helper()
	all := make(map[string]colour)
	for _, found := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6}|[0-9a-f]{3});`).FindAllStringSubmatch(css, -1) {
		digits := found[2]
		if len(digits) == 3 {
			digits = strings.Join([]string{digits[:1], digits[:1], digits[1:2], digits[1:2], digits[2:], digits[2:]}, "")
		}
		var c colour
		for i := range c {
			v, err := strconv.ParseUint(digits[2*i:2*i+2], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c[i] = float64(v) / 255
		}
		all[found[1]] = c
	}
	tint, err := strconv.ParseFloat(regexp.MustCompile(`--tint: (\d+)%`).FindStringSubmatch(css)[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return all, tint / 100
}

// TestTextsStandOutFromWhatIsBehindThem wants WCAG's 4.5 to 1 of every state in
// both schemes: of the chip, the banner and an error.
func TestTextsStandOutFromWhatIsBehindThem(t *testing.T) {
	css := string(mustRead("page.css"))
	roots := regexp.MustCompile(`(?s):root \{.*?\}`).FindAllString(css, -1)
	chip := regexp.MustCompile(`(?s)\.chip \{.*?var\(--c\) (\d+)%`).FindStringSubmatch(css)
	if len(roots) != 2 || chip == nil {
		t.Fatal("the style sheet is another")
	}
	share, err := strconv.ParseFloat(chip[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	for i, root := range roots {
		all, tint := scheme(t, root)
		panel := all["panel"]
		enough := func(what string, text, behind colour) {
			t.Helper()
			if got := contrast(text, behind); got < 4.5 {
				t.Errorf("%s, %s: %.2f", []string{"light", "dark"}[i], what, got)
			}
		}
		for _, state := range []string{"fresh", "waiting", "stale", "late", "failing", "conflict", "expired"} {
			c, found := all[state]
			if !found {
				t.Fatalf("there is no colour of %s", state)
			}
			enough("the chip of "+state, c, c.over(panel, share/100))
			enough("the banner of "+state, c, c.over(panel, tint))
			enough("an error on a card of "+state, all["soft"], c.over(panel, tint))
		}
		enough("a red banner", panel, all["expired"])
		enough("soft text", all["soft"], all["bg"])
		enough("a button", all["on-brand"], all["brand"])
	}
}
