package wechattest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"slices"
	"strconv"
)

// Recoding is a way in which relays in front of WeChat re-encode its answers without
// changing their meaning.
type Recoding string

// The recodings. The first group changes the members of the JSON object, the second
// the text around it.
const (
	RecodeOK         Recoding = "ok"         // errcode 0 and errmsg "ok" if there is no errcode
	RecodeSuccess    Recoding = "success"    // errcode 200, the relay's own, if there is none or 0
	RecodeNulls      Recoding = "nulls"      // null for each missing member
	RecodeMessage    Recoding = "message"    // errmsg is an object
	RecodeFraction   Recoding = "fraction"   // 7200.0
	RecodeExponent   Recoding = "exponent"   // 7.2e+03
	RecodeQuoted     Recoding = "quoted"     // numbers are strings
	RecodeDuplicates Recoding = "duplicates" // each member appears twice; the second counts

	RecodeTrailing Recoding = "trailing" // a comment after the object
	RecodeLeading  Recoding = "leading"  // a comment before it
	RecodeBlanks   Recoding = "blanks"   // spaces and line breaks around the object
	RecodeBOM      Recoding = "bom"      // a byte order mark
	RecodeGzip     Recoding = "gzip"     // compressed, whether requested or not
	RecodeUnzipped Recoding = "unzipped" // not compressed, but with Content-Encoding: gzip
)

// recoding is the implementation of a Recoding, on the members or on the text.
type recoding struct {
	name    Recoding
	members func(map[string]json.RawMessage)
	text    func([]byte) []byte
}

// recodingTable returns the recodings in the order in which they are applied.
func recodingTable() []recoding {
	return []recoding{
		{name: RecodeOK, members: func(m map[string]json.RawMessage) {
			if m["errcode"] == nil {
				m["errcode"], m["errmsg"] = json.RawMessage("0"), json.RawMessage(`"ok"`)
			}
		}},
		{name: RecodeSuccess, members: func(m map[string]json.RawMessage) {
			if code := string(m["errcode"]); code == "" || code == "0" {
				m["errcode"], m["errmsg"] = json.RawMessage("200"), json.RawMessage(`"success"`)
			}
		}},
		{name: RecodeNulls, members: func(m map[string]json.RawMessage) {
			for _, name := range []string{"access_token", "expires_in", "errcode", "errmsg"} {
				if m[name] == nil {
					m[name] = json.RawMessage("null")
				}
			}
		}},
		{name: RecodeMessage, members: func(m map[string]json.RawMessage) {
			if words := m["errmsg"]; words != nil {
				m["errmsg"] = slices.Concat(json.RawMessage(`{"text":`), words, json.RawMessage("}"))
			}
		}},
		{name: RecodeFraction, members: eachNumber(func(number string) string { return number + ".0" })},
		{name: RecodeExponent, members: eachNumber(func(number string) string {
			f, _ := strconv.ParseFloat(number, 64)
			return strconv.FormatFloat(f, 'e', -1, 64)
		})},
		{name: RecodeQuoted, members: eachNumber(strconv.Quote)},
		{name: RecodeDuplicates, text: twice},
		{name: RecodeTrailing, text: func(b []byte) []byte { return append(b, "\n<!-- relay -->"...) }},
		{name: RecodeLeading, text: func(b []byte) []byte { return append([]byte("<!-- relay -->\n"), b...) }},
		{name: RecodeBlanks, text: func(b []byte) []byte { return slices.Concat([]byte("\r\n\t "), b, []byte(" \r\n\r\n")) }},
		{name: RecodeBOM, text: func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }},
		{name: RecodeGzip, text: zipped},
		{name: RecodeUnzipped},
	}
}

func recodings() []Recoding {
	var names []Recoding
	for _, r := range recodingTable() {
		names = append(names, r.name)
	}
	return names
}

// relay applies recodings to an answer that is a JSON object.
func (out *reply) relay(wanted []Recoding) {
	var members map[string]json.RawMessage
	if len(wanted) == 0 || json.Unmarshal(out.body, &members) != nil || members == nil {
		return
	}
	table := slices.DeleteFunc(recodingTable(), func(r recoding) bool { return !slices.Contains(wanted, r.name) })
	for _, r := range table {
		if r.members != nil {
			r.members(members)
		}
	}
	body, err := json.Marshal(members)
	if err != nil {
		return // never happens
	}
	for _, r := range table {
		if r.text != nil {
			body = r.text(body)
		}
		if r.name == RecodeGzip || r.name == RecodeUnzipped {
			out.header.Set("Content-Encoding", "gzip")
		}
	}
	out.body = body
}

// eachNumber returns a function that changes the members that are numbers.
func eachNumber(change func(string) string) func(map[string]json.RawMessage) {
	return func(members map[string]json.RawMessage) {
		for name, value := range members {
			if c := value[0]; c == '-' || c >= '0' && c <= '9' {
				members[name] = json.RawMessage(change(string(value)))
			}
		}
	}
}

// twice puts duplicates with other values of the same types before the members.
func twice(object []byte) []byte {
	var members map[string]any
	if json.Unmarshal(object, &members) != nil {
		return object
	}
	for name, value := range members {
		switch value.(type) {
		case string:
			members[name] = "former"
		case float64:
			members[name] = 1
		}
	}
	copies, err := json.Marshal(members)
	if err != nil || len(members) == 0 {
		return object
	}
	return slices.Concat(copies[:len(copies)-1], []byte(","), object[1:])
}

func zipped(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // never fails
	_ = w.Close()
	return out.Bytes()
}
