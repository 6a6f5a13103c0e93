package httpapi

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

var update = flag.Bool("update", false, "write the pictures of the page in cmd/zhongkong/docs")

const (
	pictureWidth = 1280
	maxPicture   = 100 << 10 // bytes, which every clone of the repository has
)

// TestThePicturesOfThePage shows what the README has pictures of.
//
//	go test ./cmd/zhongkong/internal/httpapi -run TestThePicturesOfThePage -update
func TestThePicturesOfThePage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	s := pictured(t)
	b := newBrowser(t)
	for _, of := range []struct{ language, file string }{{"en", "status.png"}, {"zh", "status.zh-CN.png"}} {
		b.look("light", pictureWidth)
		b.open(s, admin, "/?lang="+of.language)
		b.until("document.getElementById('link').dataset.state", "on")
		b.fits("picture-" + of.language)
		file := "../../docs/pictures/" + of.file
		if *update {
			if err := os.WriteFile(file, b.picture(pictureWidth, 720), 0o644); err != nil { //nolint:gosec // for everyone to see
				t.Fatal(err)
			}
		}
		picture, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if config, err := png.DecodeConfig(bytes.NewReader(picture)); err != nil || config.Width != pictureWidth || len(picture) > maxPicture {
			t.Errorf("%s is %d bytes, %d pixels wide (%v): run this test with -update", of.file, len(picture), config.Width, err)
		}
	}
}

// pictured is a stage with accounts of several kinds, of which one is refused and one
// was refreshed by an outsider.
func pictured(t *testing.T) *stage {
	t.Helper()
	named := map[string]string{
		wxa: "Shop 商城", wxa + ".jsapi": "", "wx0123456789abcdef": "Customer service 客服", "office": "WeCom 企业微信", "invoices": "OAuth 2.0", "crm": "Salesforce",
	}
	sources := map[string]*coordinatortest.Source{}
	for name := range named {
		sources[name] = &coordinatortest.Source{Name: "token-of-" + name}
	}
	sources["wx0123456789abcdef"].Default(coordinatortest.FailsWith(coordinator.FailedRefused, "40164", "invalid ip 203.0.113.7, not in whitelist"))
	store := memstore.New()
	s := stageOver(t, store.Instance("host-1"), store, sources, func(c *Config) {
		c.History = memHistory{store}
		c.Instance, c.Version = "host-1", "v1.0.0"
		c.Directory = labels{Directory: c.Directory, of: func(account string) string { return named[account] }}
	})
	for name := range named {
		s.wait("an outcome of "+name, func() bool {
			status := s.account(name).Status()
			return status.Record.Usable() || status.Failure != nil
		})
	}
	s.ask(admin, "POST", "/v1/tokens/"+wxa+"/refresh", "")
	s.ask(admin, "POST", "/v1/tokens/crm/refresh", fmt.Sprintf(`{"if_token":%q}`, s.token("crm")))
	s.wait("the conflict", func() bool { return s.account("crm").Status().Conflicts > 0 })
	return s
}

// picture returns the top of the page as a PNG of few colours, which is small.
func (b *browser) picture(width, height int) []byte {
	b.t.Helper()
	b.run("document.documentElement.style.overflow = 'hidden'") // no scroll bar
	var shot struct{ Data string }
	b.do("POST", "/goog/cdp/execute", node{"cmd": "Page.captureScreenshot", "params": node{
		"clip": node{"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
	}}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	full, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		b.t.Fatal(err)
	}
	few := image.NewPaletted(full.Bounds(), frequent(full, 128))
	draw.Draw(few, few.Bounds(), full, full.Bounds().Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		b.t.Fatal(err)
	}
	return out.Bytes()
}

// frequent returns the n most frequent colours of a picture.
func frequent(picture image.Image, n int) color.Palette {
	count := map[color.Color]int{}
	area := picture.Bounds()
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			count[picture.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	return color.Palette(colours[:min(n, len(colours))])
}
