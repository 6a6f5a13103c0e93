package config

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/tokenfile"
)

func tokenFileFields() []field[tokenfile.File] {
	return []field[tokenfile.File]{
		{"account", "the account whose token is written; see files.md", textInto(func(f *tokenfile.File) *string { return &f.Account })},
		{"path", "absolute path of the file, which is replaced by a rename at each change of the token; PATH.expiry beside it says when the token ends",
			into(kindText, checked(tokenfile.CheckPath), func(f *tokenfile.File) *string { return &f.Path })},
		{"format", "raw (default: the token alone, without a newline) or json (the record of GET /v1/tokens)",
			into(kindText, tokenfile.ParseFormat, func(f *tokenfile.File) *string { return &f.Format })},
		{"template", "any other form: a text/template of Go with the fields of that record, such as {{.access_token}}; it is tried at the start",
			func(d *decoder, n *yaml.Node, path string, f *tokenfile.File) {
				if d.wholeText(n, path, &f.Template) {
					d.report(n, path, tokenfile.CheckTemplate(f.Template))
				}
			}},
		{"mode", `its mode in octal digits, in quotes (default "0600")`, into(kindText, tokenfile.ParseMode, func(f *tokenfile.File) *fs.FileMode { return &f.Mode })},
		{"owner", "its owner, USER, USER:GROUP or :GROUP (default the user of this process, which must be root to give it to another)",
			into(kindText, checked(tokenfile.CheckOwner), func(f *tokenfile.File) *string { return &f.Owner })},
		{"notify", "a command that is run after each change, as a list of its words; it is run without a shell and killed after 30 seconds, and repeated until it succeeds",
			func(d *decoder, n *yaml.Node, path string, f *tokenfile.File) { f.Notify = d.texts(n, path) }},
	}
}

func (d *decoder) tokenFiles(n *yaml.Node, c *Config) {
	d.sequence(n, "files", func(i int, n *yaml.Node) {
		path := fmt.Sprintf("files[%d]", i)
		before := d.problems.count()
		var f tokenfile.File
		if !element(d, n, path, tokenFileFields(), &f) {
			return
		}
		switch {
		case d.problems.count() > before:
		case f.Account == "":
			d.problems.addf("%s: %s.account is missing: every file needs one", d.at(n), path)
		case f.Path == "":
			d.problems.addf("%s: %s.path is missing: every file needs one", d.at(n), path)
		case f.Format != "" && f.Template != "":
			d.problems.addf("%s: %s: format and template both give the form of the file: remove one of them", d.at(n), path)
		}
		c.TokenFiles = append(c.TokenFiles, f)
		c.tokenFileAt = append(c.tokenFileAt, d.at(n)+": "+path)
	})
}

// wholeText reads a text as it is, with all its white space.
func (d *decoder) wholeText(n *yaml.Node, path string, dst *string) bool {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		_, _ = d.unfit(n, path, ": it must be text")
		return false
	}
	*dst = n.Value
	return true
}

// checkTokenFiles validates the files against each other and against the accounts.
// named has the accounts; nil: they are not known.
func (c *Config) checkTokenFiles(named map[string]string, p *problems) {
	taken := map[string]string{} // path :: what is there
	for path := range c.files {
		if whole, err := filepath.Abs(path); err == nil {
			taken[whole] = "the configuration itself"
		}
	}
	for i, f := range c.TokenFiles {
		at := c.tokenFileAt[i]
		if f.Account != "" && named != nil && named[f.Account] == "" && !c.mayAppear(f.Account) {
			p.addf("%s.account: %q is not among the accounts: they are %s", at, f.Account, c.names())
		}
		if f.Path == "" {
			continue
		}
		for _, path := range []string{f.Path, tokenfile.ExpiryPath(f.Path)} {
			if other := taken[path]; other != "" {
				p.addf("%s.path: %s is %s: give each file a path of its own", at, path, other)
			}
			taken[path] = "written for " + at
		}
	}
}
