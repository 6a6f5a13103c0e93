package tokenfile

import (
	"strings"
	"testing"
)

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string // "": nothing is wrong
	}{
		"a path":                      {CheckPath("/run/zhongkong/token"), ""},
		"a relative path":             {CheckPath("token"), "absolute"},
		"a path of a directory":       {CheckPath("/run/"), "shortest form"},
		"the root":                    {CheckPath("/"), "shortest form"},
		"a path with ..":              {CheckPath("/run/../x"), "shortest form"},
		"a long name":                 {CheckPath("/" + strings.Repeat("x", 201)), "at most 200"},
		"a mode":                      {second(ParseMode("0640")), ""},
		"a mode without the 0":        {second(ParseMode("600")), ""},
		"a mode that others write to": {second(ParseMode("0666")), "must not let others write"},
		"a mode without its reader":   {second(ParseMode("0040")), "let the owner read"},
		"a mode of a program":         {second(ParseMode("0755")), "no other bits"},
		"a mode in letters":           {second(ParseMode("rw-r-----")), "octal digits"},
		"a format":                    {second(ParseFormat("json")), ""},
		"an unknown format":           {second(ParseFormat("yaml")), "raw or json; template:"},
		"a user":                      {CheckOwner("prometheus"), ""},
		"a user and a group":          {CheckOwner("root:prometheus"), ""},
		"a group":                     {CheckOwner(":prometheus"), ""},
		"ids":                         {CheckOwner("0:65534"), ""},
		"no owner":                    {CheckOwner(":"), "USER:GROUP"},
		"a group that is missing":     {CheckOwner("root:"), "USER:GROUP"},
		"two groups":                  {CheckOwner("a:b:c"), "USER:GROUP"},
		"a template":                  {CheckTemplate(`Bearer {{.access_token}} {{index .attributes "x"}} {{.expires_in}}`), ""},
		"a template without an end":   {CheckTemplate("{{.access_token"), "unclosed action"},
		"an unknown field":            {CheckTemplate("{{.token}}"), `no field "token": there are name, access_token`},
		"an unknown function":         {CheckTemplate("{{quote .access_token}}"), `function "quote" not defined`},
		"an empty template":           {CheckTemplate("{{/* */}}\n"), "put in {{.access_token}}"},
	} {
		switch {
		case test.want == "" && test.err != nil:
			t.Errorf("%s is refused: %v", name, test.err)
		case test.want != "" && (test.err == nil || !strings.Contains(test.err.Error(), test.want)):
			t.Errorf("%s: %v, want %q", name, test.err, test.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestFilesThatDifferAreNotTheSame(t *testing.T) {
	f := File{Account: "wx1", Path: "/a", Notify: []string{"true"}}
	if !f.Same(File{Account: "wx1", Path: "/a", Notify: []string{"true"}}) {
		t.Error("equal files are not the same")
	}
	for _, o := range []File{
		{Account: "wx2", Path: "/a", Notify: f.Notify}, {Account: "wx1", Path: "/b", Notify: f.Notify}, {Account: "wx1", Path: "/a"},
		{Account: "wx1", Path: "/a", Notify: f.Notify, Format: JSON}, {Account: "wx1", Path: "/a", Notify: f.Notify, Template: "x"},
		{Account: "wx1", Path: "/a", Notify: f.Notify, Mode: 0o640}, {Account: "wx1", Path: "/a", Notify: f.Notify, Owner: "root"},
	} {
		if f.Same(o) {
			t.Errorf("%+v is the same as %+v", f, o)
		}
	}
}
