package source

import (
	"bytes"
	"compress/gzip"
	"testing"
)

func TestABodyIsReadThroughItsWrapping(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte("\r\n\xef\xbb\xbf {}\n"))
	_ = w.Close()
	damaged := zipped.String()[:zipped.Len()-8] // no checksum
	for _, c := range []struct {
		body  string
		limit int
		want  string
		long  string
	}{
		{"", 8, "", ""},
		{"{}", 2, "{}", ""},
		{"{} ", 2, "{}", "more than 2 bytes"},
		{"  {}", 2, "", "more than 2 bytes"},
		{"\r\n\xef\xbb\xbf \n{}\n", 100, "{}", ""},
		{zipped.String(), 9, "{}", ""},
		{zipped.String(), 8, "{}", "more than 8 bytes"},
		{zipped.String(), 7, "{", "more than 7 bytes"},
		{damaged, 9, "{}", ""},
		{GzipMagic + "no", 100, GzipMagic + "no", ""},
	} {
		text, long := Plain([]byte(c.body), c.limit)
		if string(text) != c.want || (long == nil) != (c.long == "") || long != nil && long.Error() != c.long {
			t.Errorf("Plain(%q, %d) = %q, %v, want %q, %q", c.body, c.limit, text, long, c.want, c.long)
		}
	}
}
