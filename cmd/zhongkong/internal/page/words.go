package page

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
)

// words are the texts of one language, as the files in words/ have them.
type words struct {
	Code  string
	Names map[string]string // :: key → text
	Codes map[int]string    // :: WeChat's code → what to do
	WeCom map[int]string    // :: WeCom's code → what to do
	Units [4]string         // day, hour, minute, second
	Space string            // between number and unit, and between two of them
}

//go:embed words
var wordFiles embed.FS

// languages returns the languages, the default first. They are read at the first use,
// because most commands have no page.
var languages = sync.OnceValue(func() []words {
	var all []words
	for _, code := range []string{"en", "zh"} {
		text, err := wordFiles.ReadFile("words/" + code + ".json")
		if err == nil {
			all = append(all, words{})
			err = json.Unmarshal(text, &all[len(all)-1])
		}
		if err != nil {
			panic(fmt.Sprintf("page: the texts of %s: %v", code, err))
		}
	}
	return all
})

// Language returns a language: the requested one, or else the first of the browser's
// that exists, or else English.
func Language(asked, acceptLanguage string) string {
	exists := func(code string) bool {
		return slices.ContainsFunc(languages(), func(w words) bool { return w.Code == code })
	}
	if exists(asked) {
		return asked
	}
	for one := range strings.SplitSeq(acceptLanguage, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(one), ";")
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if exists(primary) {
			return primary
		}
	}
	return languages()[0].Code
}

func (w words) functions() template.FuncMap {
	return template.FuncMap{
		"t":        w.text,
		"words":    w.wordOr,
		"duration": w.duration,
		"ms":       func(d time.Duration) int64 { return d.Milliseconds() },
		"took":     func(d time.Duration) string { return d.Round(time.Millisecond).String() },
		"utc":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"clock":    func(t time.Time) string { return t.UTC().Format("01-02 15:04:05") },
		"advice":   w.advice,
		"wechat":   ofWeChat,
		"said":     issuersWords,
		"many":     w.many,
		"whys":     w.whys,
		"failed":   w.failed,
		"notice":   w.notice,
		"asked":    w.asked,
		"path":     url.PathEscape,
		"of":       func(v *view, it any) part { return part{v, it} },
		"summary":  w.summary,
		"tally":    w.tally,
		"width":    func(share float64) string { return fmt.Sprintf("%.2f%%", share) },
		"units":    func() string { return strings.Join(w.Units[:], ",") },
		"space":    func() string { return w.Space },
		"key":      func(s state) string { return s.key() },
		"others": func() []words {
			return slices.DeleteFunc(slices.Clone(languages()), func(o words) bool { return o.Code == w.Code })
		},
	}
}

// part is the argument of a template within the page.
type part struct {
	View *view
	It   any
}

// Own returns the language's name in the language itself.
func (w words) Own() string { return w.Names["own"] }

// text returns the text for a key, with its arguments filled in. An unknown key is
// returned in braces, so that a test finds it.
func (w words) text(key string, args ...any) string {
	format, ok := w.Names[key]
	if !ok {
		return "{" + key + "}"
	}
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// many is text with a number. The number 1 may have a text of its own.
func (w words) many(key string, n int) string {
	if n == 1 {
		return w.or(key+".one", w.text(key, n))
	}
	return w.text(key, n)
}

// or returns the text for a key, or else another one.
func (w words) or(key, otherwise string) string {
	if text, ok := w.Names[key]; ok {
		return text
	}
	return otherwise
}

// advice returns what to do about a failure, "" if that is not known.
func (w words) advice(source string, kind coordinator.FailureKind, code coordinator.Code, message string) string {
	switch {
	case kind == coordinator.FailedParent:
		return w.text("advice.parent")
	case code != "":
		return w.codeAdvice(source, code)
	}
	switch key := transportCause(message); {
	case key == "":
		return ""
	case ofWeChat(source):
		return w.text(key)
	default:
		return w.or(key+".other", w.text(key))
	}
}

func (w words) codeAdvice(source string, code coordinator.Code) string {
	number, _ := code.Number()
	switch source {
	case sources.HTTP: // its messages say what to do
		return ""
	case sources.WeCom, sources.WeComProvider, sources.WeComJSAPITicket, sources.WeComAgentTicket:
		if text, ok := w.WeCom[number]; ok {
			return text
		}
	default:
		if text, ok := w.Codes[number]; ok && ofWeChat(source) {
			return text
		}
	}
	if ofWeChat(source) {
		return w.text("advice.unknown")
	}
	if hint := sources.Hint(source, code); hint != "" {
		return hint
	}
	return w.text("advice.unknown.other")
}

// whyPrefix begins the keys of the texts for the API's error codes.
const whyPrefix = "why."

// whys returns the texts for the API's error codes as JSON, for the script.
func (w words) whys() (string, error) {
	all := make(map[string]string)
	for key, text := range w.Names {
		if code, ok := strings.CutPrefix(key, whyPrefix); ok {
			all[code] = text
		}
	}
	text, err := json.Marshal(all)
	return string(text), err
}

// failed says that a refresh failed. why is an error code of the API. It comes from the
// page's address, which anyone may have written, so an unknown one is not shown.
func (w words) failed(why string) string {
	return w.text("failed", w.or(whyPrefix+why, w.Names[whyPrefix+"internal"]))
}

// notice returns the message for an error code of the API in place of the page.
func (w words) notice(code string) string {
	return w.or("notice."+code, w.text("notice.internal"))
}

// asked says which caller asked for a refresh, and how.
func (w words) asked(by string) string {
	name, how, ok := strings.Cut(strings.TrimSuffix(by, ")"), " (")
	if text, known := w.Names["how."+how]; ok && known {
		return w.text("asked.how", name, text)
	}
	return w.text("asked", by)
}

// plain replaces characters that a browser would not just display: controls, and format
// characters that reverse the text that follows.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// wordOr returns the translation of a word of the protocol, or the word.
func (w words) wordOr(kind, word string) string { return w.or(kind+"."+word, word) }

// duration returns the two largest units, like duration in the script.
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
	text := fmt.Sprintf("%d%s%s", parts[first], w.Space, w.Units[first])
	if first < 3 && parts[first+1] != 0 {
		text += fmt.Sprintf(" %d%s%s", parts[first+1], w.Space, w.Units[first+1])
	}
	return text
}

func (w words) summary(v *view) string {
	key := "sum." + v.Worst.key()
	switch n := v.Counts[v.Worst]; {
	case v.Total == 0:
		return w.text("sum.none")
	case v.Total == 1:
		return w.text(key + ".one")
	case v.Worst == fresh:
		return w.text(key+".all", v.Total)
	case n == v.Total:
		return w.text(key + ".all")
	default:
		return w.text(key+".some", n, v.Total)
	}
}

type count struct {
	State string // "": all
	Text  string
}

// tally returns how many accounts are in each state, if the states differ or only some
// accounts are shown.
func (w words) tally(v *view) []count {
	var all []count
	for s, n := range v.Counts {
		if n > 0 {
			key := state(s).key()
			all = append(all, count{key, w.text("state.some", n, w.text("state."+key))})
		}
	}
	switch {
	case v.State != "":
		return append(all, count{"", w.text("state.all", v.Total)})
	case len(all) < 2:
		return nil
	}
	return all
}
