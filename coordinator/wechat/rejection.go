package wechat

import (
	"bytes"
	"net/http"

	"github.com/zhongkong/zhongkong/coordinator/httpsource"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
)

// PeekErrcode returns the errcode of an answer of WeChat's or WeCom's, 0 if there is
// none: that of a JSON object of at most 8 KiB, perhaps compressed. It blocks until as
// much of the body has arrived as this takes, and replaces resp.Body by one that can
// still be read from its start. inMemory says that reading that body will not block.
func PeekErrcode(resp *http.Response) (code int, inMemory bool) {
	begin, inMemory := source.Peek(resp)
	if text, _ := source.Plain(begin, httpsource.MaxBody); bytes.Contains(text, []byte("errcode")) {
		if a, err := parseAnswer(accessToken, text); err == nil {
			code = a.code
		}
	}
	return code, inMemory // 0 for what is too long, not an object, or cut off
}
