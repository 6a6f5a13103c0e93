package main

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// documents are what people read. Their places are those of the checkout, so that the
// links between them lead somewhere; links to other files lead to the repository.
func (s source) documents() ([]file, error) {
	names := []string{"README.md", "README.zh-CN.md", "LICENSE", ".github/CHANGELOG.md"}
	tree := os.DirFS(s.root)
	err := fs.WalkDir(tree, "cmd/zhongkong/docs", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var files []file
	for _, name := range names {
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		if path.Ext(name) == ".md" {
			data = s.linked(name, data, names)
		}
		f := file{name: strings.TrimPrefix(name, ".github/"), mode: 0o644, data: data}
		f.path = "/usr/share/doc/zhongkong/" + f.name
		if name == "LICENSE" {
			f.path = "/usr/share/doc/zhongkong/copyright" // as Debian calls it
		}
		files = append(files, f)
	}
	return files, nil
}

// link matches the address of a link or a picture, if it is a path.
var link = regexp.MustCompile(`\]\(([^)#:\s]+)([)#])`)

// linked replaces links to files that are not published with it by those in the
// repository, at this commit.
func (s source) linked(name string, text []byte, published []string) []byte {
	return link.ReplaceAllFunc(text, func(found []byte) []byte {
		parts := link.FindSubmatch(found)
		target := path.Join(path.Dir(name), string(parts[1]))
		if slices.Contains(published, target) && !strings.HasPrefix(target, ".github/") {
			return found
		}
		return []byte("](" + repository + "/blob/" + s.commit + "/" + target + string(parts[2]))
	})
}
