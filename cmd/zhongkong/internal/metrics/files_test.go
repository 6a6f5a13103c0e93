package metrics_test

import (
	"testing"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/metrics"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/tokenfile"
)

func TestTokenFilesAreRead(t *testing.T) {
	m := metrics.New(metrics.Build{Version: "v1"})
	m.FollowFiles(func() []tokenfile.Stats {
		return []tokenfile.Stats{
			{Account: "wx1", Path: "/run/a", Current: true, Written: 3, Failed: 1, Notified: 2, NotifyFailed: 4},
			{Account: "wx1", Path: "/run/b"},
		}
	})
	text := scrape(m)
	wantLines(t, text,
		`zhongkong_file_current{account="wx1",path="/run/a"} 1`,
		`zhongkong_file_current{account="wx1",path="/run/b"} 0`,
		`zhongkong_file_writes_total{account="wx1",path="/run/a",result="written"} 3`,
		`zhongkong_file_writes_total{account="wx1",path="/run/a",result="failed"} 1`,
		`zhongkong_file_notifications_total{account="wx1",path="/run/a",result="done"} 2`,
		`zhongkong_file_notifications_total{account="wx1",path="/run/a",result="failed"} 4`,
	)
	promtool(t, text, "check", "metrics")
}
