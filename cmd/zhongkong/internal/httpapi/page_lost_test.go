package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

// behindDoor puts the stage's API behind a server that can stop answering.
func (s *stage) behindDoor() (shut func(bool)) {
	var closed atomic.Bool
	s.t.Cleanup(s.server.Close)
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if closed.Load() {
			panic(http.ErrAbortHandler)
		}
		s.api.ServeHTTP(w, r)
	}))
	return func(yes bool) {
		closed.Store(yes)
		s.server.CloseClientConnections()
	}
}

func TestThePageSaysSinceWhenItIsOld(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newStage(t)
	shut := s.behindDoor()
	b := newBrowser(t)
	b.look("light", 1200)
	b.open(s, admin, "/")
	b.until("document.getElementById('link').dataset.state", "on")
	const lost, old = "document.getElementById('lost')", "document.getElementById('live').classList.contains('old')"
	b.until(lost+".hidden", "true")

	shut(true)
	b.until(lost+".hidden", "false")
	b.until(old, "true")
	if text := b.run("return " + lost + ".textContent"); !strings.HasPrefix(text, "No connection since ") || !strings.HasSuffix(text, "; the data below is old") {
		t.Errorf("it says %q", text)
	}
	b.until("document.title.startsWith('No connection since')", "true")
	b.photograph("lost")

	shut(false)
	b.until(lost+".hidden", "true")
	b.until(old, "false")
	b.until("document.title.startsWith('All 2 tokens')", "true")
}

func TestTheToastSpeaksThePagesLanguage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := newStage(t)
	s.sources[wxb].Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40125", "invalid appsecret"))
	b := newBrowser(t)
	b.look("light", 375)
	b.open(s, admin, "/?lang=zh")
	b.until("document.getElementById('link').dataset.state", "on")
	b.click("[data-refresh=" + wxb + "]")
	b.click("dialog button[value=yes]")
	b.until("document.getElementById('toast').textContent", "刷新失败：签发方拒绝 · 错误码 40125")
	b.photograph("zh-toast")
	if width := b.run("const box = document.getElementById('toast').getBoundingClientRect(); return box.left >= 14 && box.right <= innerWidth - 14"); width != "true" {
		t.Error("the toast does not fit the phone")
	}
}
