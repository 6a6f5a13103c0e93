package page

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// words are one language.
type words struct {
	code  string
	names map[string]string // :: key → text
	codes map[int]string    // :: the issuer's code → what to do
	units [4]string         // day, hour, minute, second
	space string            // between number and unit, and between two of them
}

var languages = []words{english, chinese}

// Language picks a language: the one asked for, else the first that the
// browser wants and there is, else English.
func Language(asked, acceptLanguage string) string {
	for _, w := range languages {
		if asked == w.code {
			return w.code
		}
	}
	for one := range strings.SplitSeq(acceptLanguage, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(one), ";")
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		for _, w := range languages {
			if primary == w.code {
				return w.code
			}
		}
	}
	return english.code
}

// functions are what the templates call.
func (w words) functions() template.FuncMap {
	return template.FuncMap{
		"t":        w.text,
		"words":    w.wordOr,
		"duration": w.duration,
		"ms":       func(d time.Duration) int64 { return d.Milliseconds() },
		"took":     func(d time.Duration) string { return d.Round(time.Millisecond).String() },
		"utc":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"clock":    func(t time.Time) string { return t.UTC().Format("01-02 15:04:05") },
		"advice":   func(code int) string { return w.codes[code] },
		"summary":  w.summary,
		"tally":    w.tally,
		"width":    func(share float64) string { return fmt.Sprintf("%.2f%%", share) },
		"units":    func() string { return strings.Join(w.units[:], ",") },
		"space":    func() string { return w.space },
		"key":      func(s state) string { return s.key() },
		"others": func() []words {
			var others []words
			for _, o := range languages {
				if o.code != w.code {
					others = append(others, o)
				}
			}
			return others
		},
	}
}

// Code and Own are for the language switch.
func (w words) Code() string { return w.code }

// Own is the language's name in itself.
func (w words) Own() string { return w.names["own"] }

// text returns the text for a key, with its arguments filled in. A key that is
// not there shows itself, so that a test finds it.
func (w words) text(key string, args ...any) string {
	format, ok := w.names[key]
	if !ok {
		return "{" + key + "}"
	}
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// wordOr translates a word of the protocol, if there is a translation.
func (w words) wordOr(kind, word string) string {
	if text, ok := w.names[kind+"."+word]; ok {
		return text
	}
	return word
}

// duration writes the two largest units, as the script does.
func (w words) duration(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	total := int64(d / time.Second)
	parts := [4]int64{total / 86400, total / 3600 % 24, total / 60 % 60, total % 60}
	first := 0
	for first < 3 && parts[first] == 0 {
		first++
	}
	text := fmt.Sprintf("%d%s%s", parts[first], w.space, w.units[first])
	if first < 3 && parts[first+1] != 0 {
		text += fmt.Sprintf(" %d%s%s", parts[first+1], w.space, w.units[first+1])
	}
	return text
}

// summary is the sentence at the top.
func (w words) summary(v *view) string {
	switch n := v.Counts[v.Worst]; {
	case v.Total == 0:
		return w.text("sum.none")
	case v.Worst == fresh && v.Total == 1:
		return w.text("sum.fresh.one")
	case v.Worst == fresh:
		return w.text("sum.fresh.all", v.Total)
	case v.Total == 1:
		return w.text("sum." + v.Worst.key() + ".one")
	default:
		return w.text("sum."+v.Worst.key()+".some", n, v.Total)
	}
}

// tally says how many accounts are in each state, if they differ.
func (w words) tally(v *view) []string {
	var all []string
	for s, n := range v.Counts {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, w.text("state."+state(s).key())))
		}
	}
	if len(all) < 2 {
		return nil
	}
	return all
}
