package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// pagesDir is the directory of the pages for users, in the repository.
const pagesDir = "cmd/zhongkong/docs"

// markdown is a Markdown file.
type markdown struct {
	path  string // relative to the repository
	lines []pageLine
}

// pageLine is a line of a page.
type pageLine struct {
	text   string
	inside bool   // a block of code
	block  string // its language
}

// allPages returns the Markdown files of the repository by their paths.
func allPages(t *testing.T) map[string]markdown {
	t.Helper()
	pages := map[string]markdown{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "node_modules", "dist"}, entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(file) != ".md":
			return nil
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(file)
		name := filepath.ToSlash(relative)
		pages[name] = markdown{name, pageLines(string(text))}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

func pageLines(text string) (lines []pageLine) {
	inside, block := false, ""
	for line := range strings.SplitSeq(text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !inside:
			inside, block = true, strings.TrimSpace(fence)
			lines = append(lines, pageLine{text: line})
		case isFence:
			inside = false
			lines = append(lines, pageLine{text: line})
		default:
			lines = append(lines, pageLine{line, inside, block})
		}
	}
	return lines
}

// ofUsers reports whether a page is one for users, which is there in two languages.
func (p markdown) ofUsers() bool {
	return p.path == "README.md" || p.path == "README.zh-CN.md" || strings.HasPrefix(p.path, pagesDir+"/")
}

// counterpart is the path of the same page in the other language.
func (p markdown) counterpart() string {
	name := strings.TrimSuffix(p.path, ".md")
	if english, found := strings.CutSuffix(name, ".zh-CN"); found {
		return english + ".md"
	}
	return name + ".zh-CN.md"
}

func (p markdown) chinese() bool { return strings.HasSuffix(p.path, ".zh-CN.md") }

var (
	codeComment = regexp.MustCompile(`(^|\s)(#|//)(\s.*)?$`)
	listItem    = regexp.MustCompile(`^\s*(-|\d+\.) `)
)

// outline is what has to be alike in any language: the order of headings and items, the
// lengths of tables, and what is to be typed or copied. Comments in code are not, nor
// blocks of the language text, which are drawings.
func (p markdown) outline() (all []string) {
	for _, line := range p.lines {
		text := strings.TrimSpace(line.text)
		switch {
		case line.inside && line.block == "text":
		case line.inside:
			all = append(all, strings.TrimSpace(codeComment.ReplaceAllLiteralString(text, "")))
		case strings.HasPrefix(text, "```"):
			all = append(all, text)
		case strings.HasPrefix(text, "|"):
			all = append(all, fmt.Sprintf("a row of %d cells", strings.Count(text, "|")-1))
		case strings.HasPrefix(text, "#"):
			level, _, _ := strings.Cut(text, " ")
			all = append(all, level)
		case listItem.MatchString(line.text):
			all = append(all, "an item")
		}
	}
	return all
}

func TestBothLanguagesHaveTheSame(t *testing.T) {
	pages := allPages(t)
	for _, p := range pages {
		other, found := pages[p.counterpart()]
		switch {
		case !p.ofUsers():
			continue
		case !found:
			t.Errorf("%s lacks %s", p.path, p.counterpart())
			continue
		case !slices.Contains(p.targets(), p.counterpart()):
			t.Errorf("%s has no link to %s", p.path, p.counterpart())
		}
		if p.chinese() {
			continue // compared with its counterpart
		}
		english, chinese := p.outline(), other.outline()
		for i := range max(len(english), len(chinese)) {
			if i >= len(english) || i >= len(chinese) || english[i] != chinese[i] {
				t.Errorf("%s and its translation part at\n%q\n%q", p.path,
					english[min(i, len(english)):min(i+3, len(english))], chinese[min(i, len(chinese)):min(i+3, len(chinese))])
				break
			}
		}
	}
}

// TestTheDrawingsAreTheSameInBothLanguages compares what is not text.
func TestTheDrawingsAreTheSameInBothLanguages(t *testing.T) {
	words := regexp.MustCompile(`>[^<\n]+</(text|title|desc)>`)
	drawings, err := filepath.Glob("docs/pictures/*.svg")
	if err != nil || len(drawings) == 0 {
		t.Fatalf("there are no drawings: %v", err)
	}
	for _, file := range drawings {
		english, isChinese := strings.CutSuffix(file, ".zh-CN.svg")
		other := english + ".svg"
		if !isChinese {
			other = strings.TrimSuffix(file, ".svg") + ".zh-CN.svg"
		}
		one, two := readText(t, "cmd/zhongkong/"+file), readText(t, "cmd/zhongkong/"+other)
		if words.ReplaceAllString(one, "") != words.ReplaceAllString(two, "") {
			t.Errorf("%s and %s differ in more than words", file, other)
		}
	}
}

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)|(?:src|srcset|href)="([^"]+)"`)
)

// links returns the targets of the links of a page to other files, as they are written.
func (p markdown) links() (all []string) {
	for _, line := range p.lines {
		if line.inside {
			continue
		}
		for _, found := range linkTarget.FindAllStringSubmatch(inlineCode.ReplaceAllString(line.text, ""), -1) {
			if target := strings.Join(found[1:], ""); !strings.Contains(target, ":") { // neither https: nor mailto:
				all = append(all, target)
			}
		}
	}
	return all
}

// resolve returns the file of the repository that a link of the page leads to, and the
// place in it.
func (p markdown) resolve(link string) (file, anchor string) {
	file, anchor, _ = strings.Cut(link, "#")
	if file == "" {
		return p.path, anchor
	}
	return path.Join(path.Dir(p.path), file), anchor
}

// targets returns the files that a page has links to.
func (p markdown) targets() (all []string) {
	for _, link := range p.links() {
		file, _ := p.resolve(link)
		all = append(all, file)
	}
	return all
}

// anchors returns the anchors of a page's headings, as forges make them.
func (p markdown) anchors() map[string]bool {
	all := map[string]bool{}
	for _, line := range p.lines {
		marks, heading, found := strings.Cut(line.text, " ")
		if line.inside || !found || marks == "" || strings.Trim(marks, "#") != "" {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
				return unicode.ToLower(r)
			}
			return -1
		}, regexp.MustCompile(`\]\([^)]*\)`).ReplaceAllString(heading, ""))
		unique := slug
		for n := 1; all[unique]; n++ {
			unique = fmt.Sprint(slug, "-", n)
		}
		all[unique] = true
	}
	return all
}

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	pages := allPages(t)
	for _, p := range pages {
		for _, link := range p.links() {
			file, anchor := p.resolve(link)
			_, err := os.Stat(filepath.Join(root, filepath.FromSlash(file)))
			target, isPage := pages[file]
			switch {
			case err != nil || strings.HasPrefix(file, ".."):
				t.Errorf("%s: the link to %s leads nowhere", p.path, link)
			case anchor != "" && (!isPage || !target.anchors()[anchor]):
				t.Errorf("%s: the link to %s: there is no such heading; there are %q", p.path, link, slices.Sorted(maps.Keys(target.anchors())))
			case p.ofUsers() && p.chinese() && isPage && !target.chinese() && file != p.counterpart() && pages[target.counterpart()].path != "":
				t.Errorf("%s: the link to %s leads to a page that is there in Chinese", p.path, link)
			}
		}
	}
}

func TestEveryPageIsReachedFromTheIndex(t *testing.T) {
	pages := allPages(t)
	for _, index := range []string{pagesDir + "/README.md", pagesDir + "/README.zh-CN.md"} {
		first, found := pages[index]
		if !found {
			t.Fatalf("there is no %s", index)
		}
		reached := map[string]bool{index: true}
		for next := []markdown{first}; len(next) > 0; next = next[1:] {
			for _, target := range next[0].targets() {
				p, isPage := pages[target]
				if isPage && !reached[target] && p.chinese() == first.chinese() {
					reached[target] = true
					next = append(next, p)
				}
			}
		}
		for name, p := range pages {
			if strings.HasPrefix(name, pagesDir+"/") && p.chinese() == first.chinese() && !reached[name] {
				t.Errorf("no link leads from %s to %s", index, name)
			}
		}
	}
}
