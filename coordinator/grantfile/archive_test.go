package grantfile_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator/grantfile"
)

func archive(t *testing.T, records ...grantfile.Record) string {
	t.Helper()
	var b strings.Builder
	if err := grantfile.WriteArchive(&b, current, records); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestArchiveIsReadAsItWasWritten(t *testing.T) {
	records := []grantfile.Record{
		{Account: "wxplatform"},
		{Account: "wx1", Grant: grant(7, 3), MemberOf: []string{"wxplatform"}},
		{Account: "账号", Grant: grant(8, 1)},
	}
	text := archive(t, records...)
	if strings.Contains(text, "refresh-") {
		t.Error("the archive shows a token")
	}
	got := must(grantfile.ReadArchive(strings.NewReader(text), current))(t)
	if !reflect.DeepEqual(got, records) {
		t.Errorf("ReadArchive() = %+v, want %+v", got, records)
	}
	if got := must(grantfile.ReadArchive(strings.NewReader(archive(t)), current))(t); len(got) != 0 {
		t.Errorf("an empty archive has %d records", len(got))
	}
}

func TestArchiveThatIsNotWholeIsRefused(t *testing.T) {
	two := []grantfile.Record{{Account: "wx1", Grant: grant(7, 3)}, {Account: "wx2", Grant: grant(8, 1)}}
	lines := strings.SplitAfter(archive(t, two...), "\n")
	other := strings.SplitAfter(archive(t, two[0], grantfile.Record{Account: "wx2", Grant: grant(8, 9)}), "\n")
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"empty":                         {nil, "not an archive"},
		"something else":                {[]string{"{}\n"}, "not an archive"},
		"without a manifest":            {lines[:1], "manifest (line 2): the archive ends within it: it was cut off"},
		"cut off within the manifest":   {[]string{lines[0], lines[1][:len(lines[1])-9]}, "manifest (line 2): the archive ends within it: it was cut off"},
		"cut off":                       {lines[:3], "1 records instead of 2"},
		"cut off within a line":         {[]string{lines[0], lines[1], lines[2], lines[3][:len(lines[3])-9]}, "line 4 of the archive: the archive ends within it: it was cut off"},
		"cut off within a name":         {[]string{lines[0], lines[1], lines[2], "wx"}, "line 4 of the archive: the archive ends within it: it was cut off"},
		"out of order":                  {[]string{lines[0], lines[1], lines[3], lines[2]}, "another one"},
		"with a record of another one":  {[]string{lines[0], lines[1], lines[2], other[3]}, "another one"},
		"with a record twice":           {append(slices.Clone(lines), lines[3]), "3 records instead of 2"},
		"with a record renamed":         {[]string{lines[0], lines[1], lines[2], strings.Replace(lines[3], "wx2", "wx3", 1)}, "line 4"},
		"with a manifest of another":    {[]string{lines[0], other[1], lines[2], lines[3]}, "another one"},
		"with a record in the manifest": {[]string{lines[0], strings.TrimPrefix(lines[2], "wx1 "), lines[2], lines[3]}, "manifest"},
	} {
		records, err := grantfile.ReadArchive(strings.NewReader(strings.Join(c.lines, "")), current)
		if err == nil || !strings.Contains(err.Error(), c.want) || records != nil {
			t.Errorf("%s: ReadArchive() = %d records, %v, want %q", name, len(records), err, c.want)
		}
	}
	if records, err := grantfile.ReadArchive(strings.NewReader(strings.TrimSuffix(strings.Join(lines, ""), "\n")), current); err != nil || len(records) != 2 {
		t.Errorf("without its last line's end: ReadArchive() = %d records, %v", len(records), err)
	}
	if _, err := grantfile.ReadArchive(strings.NewReader(strings.Join(lines, "")), sealer{key: "k9"}); !errors.Is(err, errKey) {
		t.Errorf("ReadArchive() without the key = %v", err)
	}
}
