package httpapi

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestThroughputIsNearABareHandlers compares whole requests over loopback with
// a handler that writes the same bytes and does nothing else. Rounds take
// turns, so that what else the machine does hits both.
func TestThroughputIsNearABareHandlers(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("measures time, which -race multiplies")
	}
	s := newStage(t)
	_, addr := serveAtMost(t, s, 1000)
	simple := httptest.NewServer(bare(s))
	defer simple.Close()
	const rounds, requests = 9, 6400
	var byClock, byCPU []float64
	for range rounds {
		api, apiCPU := rate(t, addr, requests)
		bare, bareCPU := rate(t, simple.Listener.Addr().String(), requests)
		byClock, byCPU = append(byClock, api/bare), append(byCPU, apiCPU/bareCPU)
	}
	slices.Sort(byClock)
	slices.Sort(byCPU)
	median := byCPU[rounds/2]
	t.Logf("of a bare handler: %.2f by processor time (%.2f to %.2f), %.2f by the clock (%.2f to %.2f); medians of %d rounds",
		median, byCPU[0], byCPU[rounds-1], byClock[rounds/2], byClock[0], byClock[rounds-1], rounds)
	if median < 1 {
		t.Errorf("%.2f of a bare handler, want at least 1", median)
	}
}

// rate returns how many requests are answered in a second, and in a second of
// processor time, client included: the latter is what counts where others use
// the processors too.
func rate(t testing.TB, addr string, n int) (byClock, byCPU float64) {
	t.Helper()
	const connections = 32
	text := requestText(addr)
	began, beganCPU := time.Now(), processorTime()
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			if err := exchange(addr, text, n/connections); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(began).Seconds(), float64(n) / (processorTime() - beganCPU).Seconds()
}

func requestText(addr string) string {
	return fmt.Sprintf("GET /v1/tokens/%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", wxa, addr, admin)
}
