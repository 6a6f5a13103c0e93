package logging_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/logging"
)

// reader is what reads a log: it may hang, or be gone.
type reader struct {
	gate chan struct{} // closed: it reads; nil: likewise

	mu   sync.Mutex
	gone bool
	b    bytes.Buffer
}

func (r *reader) Write(p []byte) (int, error) {
	if r.gate != nil {
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return 0, errors.New("broken pipe")
	}
	return r.b.Write(p)
}

func (r *reader) leave(gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = gone
}

func (r *reader) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

func notice(n uint64, err error) []byte {
	if err != nil {
		return fmt.Appendf(nil, "%d dropped: %v\n", n, err)
	}
	return fmt.Appendf(nil, "%d dropped\n", n)
}

func TestLinesArriveInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := logging.NewWriter(&r, notice)
		for i := range 1000 {
			fmt.Fprintf(w, "%d\n", i)
		}
		if !w.Close(time.Second) {
			t.Error("Close() = false, want true")
		}
		if lines := strings.Fields(r.text()); len(lines) != 1000 || lines[0] != "0" || lines[999] != "999" || w.Dropped() != 0 {
			t.Errorf("%d lines, %d dropped", len(lines), w.Dropped())
		}
		fmt.Fprintln(w, "late")
		if strings.Contains(r.text(), "late") || w.Dropped() != 1 {
			t.Error("a line after Close is not dropped")
		}
	})
}

func TestAReaderThatHangsStopsNoWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reader{gate: make(chan struct{})}
		w := logging.NewWriter(&r, notice)
		long := strings.Repeat("x", 1023) + "\n"
		fmt.Fprint(w, long)
		synctest.Wait()  // it hangs with this one
		for range 2999 { // 3 MB
			fmt.Fprint(w, long)
		}
		dropped := w.Dropped()
		if dropped < 1900 || dropped > 2000 {
			t.Errorf("%d of 3000 lines were dropped, want all but 1 MB", dropped)
		}
		began := time.Now()
		if w.Close(time.Second) || time.Since(began) != time.Second {
			t.Errorf("Close() waited %v and says that all is written", time.Since(began))
		}
		close(r.gate)
		synctest.Wait()
		want := fmt.Sprintf("%d dropped\n", dropped)
		if got := r.text(); !strings.HasSuffix(got, want) || len(got) != (3000-int(dropped))*1024+len(want) {
			t.Errorf("%d bytes arrived, want those that had room and then %q", len(got), want)
		}
	})
}

func TestDroppedLinesAreToldWhereTheyAreMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reader{gate: make(chan struct{})}
		w := logging.NewWriter(&r, notice)
		fmt.Fprintln(w, strings.Repeat("x", 1<<20-10))
		synctest.Wait() // it hangs with the first line: the queue is empty
		fmt.Fprintln(w, strings.Repeat("y", 1<<20-10))
		fmt.Fprintln(w, "there is no room for this one")
		fmt.Fprintln(w, "z")
		close(r.gate)
		synctest.Wait()
		fmt.Fprintln(w, "later")
		w.Close(time.Second)
		lines := strings.Split(r.text(), "\n")
		if len(lines) != 6 || lines[2] != "1 dropped" || lines[3] != "z" || lines[4] != "later" {
			t.Errorf("%q", lines[2:])
		}
	})
}

func TestAReaderThatIsGoneIsTriedAgainWithEachLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reader
		w := logging.NewWriter(&r, notice)
		defer w.Close(time.Second)
		r.leave(true)
		for range 5 {
			fmt.Fprintln(w, "lost")
			synctest.Wait()
		}
		if n := w.Dropped(); n != 5 {
			t.Errorf("Dropped() = %d, want 5", n)
		}
		r.leave(false)
		fmt.Fprintln(w, "found")
		synctest.Wait()
		if got := r.text(); got != "5 dropped: broken pipe\nfound\n" {
			t.Errorf("it got %q", got)
		}
	})
}
