package httpapi

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser is a Chromium without a window, driven over WebDriver.
type browser struct {
	t       *testing.T
	session string // URL
}

const installChromium = "the page is tested in a real browser: apt-get install chromium chromium-driver"

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromedriver")
	if err != nil {
		t.Fatalf("there is no chromedriver; %s", installChromium)
	}
	driver := exec.Command(path, "--port=0")
	out, err := driver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(); err != nil {
		t.Fatalf("%v; %s", err, installChromium)
	}
	t.Cleanup(func() {
		_ = driver.Process.Kill()
		_ = driver.Wait()
	})
	port := ""
	for in := bufio.NewScanner(out); port == "" && in.Scan(); {
		if found := regexp.MustCompile(`started successfully on port (\d+)`).FindStringSubmatch(in.Text()); found != nil {
			port = found[1]
		}
	}
	if port == "" {
		t.Fatal("chromedriver does not say where it listens")
	}
	b := &browser{t: t, session: "http://127.0.0.1:" + port + "/session"}
	var made struct {
		SessionID string `json:"sessionId"`
	}
	b.do("POST", "", node{"capabilities": node{"alwaysMatch": node{
		"goog:loggingPrefs": node{"browser": "ALL"},
		"goog:chromeOptions": node{"args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(),
		}},
	}}}, &made)
	b.session += "/" + made.SessionID
	t.Cleanup(func() { b.do("DELETE", "", nil, nil) })
	return b
}

// do sends a command that has to succeed, and decodes its value.
func (b *browser) do(method, path string, body, value any) {
	b.t.Helper()
	if err := b.try(method, path, body, value); err != nil {
		b.t.Fatal(err)
	}
}

// try sends a command and decodes its value.
func (b *browser) try(method, path string, body, value any) error {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, b.session+path, sent)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %d %.300s %w", method, path, answer.StatusCode, text, err)
	}
	return json.Unmarshal(text, &struct {
		Value any `json:"value"`
	}{value})
}

// open loads a page of the stage as a caller.
func (b *browser) open(s *stage, who, path string) {
	b.t.Helper()
	b.do("POST", "/url", node{"url": strings.Replace(s.server.URL, "http://", "http://"+who+"@", 1) + path}, nil)
}

// run runs a script and returns what it returns, as text.
func (b *browser) run(script string, args ...any) string {
	b.t.Helper()
	var value any
	b.do("POST", "/execute/sync", node{"script": script, "args": append([]any{}, args...)}, &value)
	return fmt.Sprint(value)
}

// until waits until an expression has a value.
func (b *browser) until(expression, want string) {
	b.t.Helper()
	got := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = b.run("return " + expression); got == want {
			return
		}
	}
	b.t.Fatalf("%s = %s, want %s", expression, got, want)
}

// click clicks as a person does: not through what covers the element. The
// element is looked for again if the page was updated in between.
func (b *browser) click(selector string) {
	b.t.Helper()
	var err error
	for range 10 {
		element := make(map[string]string)
		b.do("POST", "/element", node{"using": "css selector", "value": selector}, &element)
		for _, id := range element {
			if err = b.try("POST", "/element/"+id+"/click", node{}, nil); err == nil {
				return
			}
		}
	}
	b.t.Fatalf("click on %s: %v", selector, err)
}

// complaints returns the errors and warnings of the console since the last
// time.
func (b *browser) complaints() []string {
	b.t.Helper()
	var lines []struct{ Level, Message string }
	b.do("POST", "/se/log", node{"type": "browser"}, &lines)
	var all []string
	for _, l := range lines {
		if l.Level == "SEVERE" || l.Level == "WARNING" {
			all = append(all, l.Message)
		}
	}
	return all
}

// look sets colours and width.
func (b *browser) look(scheme string, width int) {
	b.t.Helper()
	b.do("POST", "/goog/cdp/execute", node{"cmd": "Emulation.setEmulatedMedia", "params": node{
		"features": []node{{"name": "prefers-color-scheme", "value": scheme}},
	}}, nil)
	b.do("POST", "/goog/cdp/execute", node{"cmd": "Emulation.setDeviceMetricsOverride", "params": node{
		"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600,
	}}, nil)
}

// envScreenshots names the directory for photographs.
const envScreenshots = "ZHONGKONG_TEST_SCREENSHOTS"

// photograph saves the whole page for people to look at.
func (b *browser) photograph(name string) {
	b.t.Helper()
	dir := os.Getenv(envScreenshots)
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.do("POST", "/goog/cdp/execute", node{"cmd": "Page.captureScreenshot", "params": node{"captureBeyondViewport": true}}, &shot)
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err := errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), image, 0o600)); err != nil {
		b.t.Fatal(err)
	}
}
