package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logtest"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestTheLogOfAReaderSaysOnceThatNoProcessRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logtest.Buffer
		store := memstore.New()
		start := func(instance string, source coordinator.Source) (zk *coordinator.Coordinator, stop func()) {
			zk, err := coordinator.New(coordinator.Config{
				Store: store.Instance(instance), Accounts: []coordinator.AccountConfig{{Name: appID, Source: source}},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = zk.Run(ctx) })
			return zk, func() { cancel(); wg.Wait() }
		}
		reader, stop := start("reader", nil)
		defer stop()
		d := &daemon{session: &session{log: slog.New(slog.NewTextHandler(&out, nil))}, zk: reader}
		go d.watchAttendance(t.Context()) // ends with the bubble
		logged := func(after time.Duration, lines int, words string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := out.String(); strings.Count(got, "\n") != lines || !strings.Contains(got, words) {
				t.Fatalf("the log is\n%swant %d lines with %q", got, lines, words)
			}
		}
		logged(45*time.Second, 0, "")
		logged(time.Hour, 1, `level=WARN msg="no process with the AppSecret answers: start one, better two: zhongkong serve" accounts=`+appID)

		_, stopRefresher := start("refresher", &coordinatortest.Source{})
		logged(time.Minute, 2, `level=INFO msg="a process with the AppSecret answers again" accounts=`+appID)
		stopRefresher()
		logged(30*time.Minute, 2, "")
		logged(time.Hour, 3, "") // the refresh of the first hour did not come
	})
}
