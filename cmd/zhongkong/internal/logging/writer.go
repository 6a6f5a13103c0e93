// Package logging keeps a log whose reader hangs from stopping the program, and clients
// without credentials from filling the log.
package logging

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// maxQueued is how many bytes of lines can be queued.
const maxQueued = 1 << 20

// Writer passes lines on to another writer without waiting for it, which may be a pipe
// that is not read, a terminal that is paused or a disk that is full. When the queue is
// full or the other writer fails, lines are dropped and counted, and a later line says
// how many.
type Writer struct {
	out    io.Writer
	notice func(dropped uint64, err error) []byte
	wake   chan struct{} // holds one value when there is something to do
	done   chan struct{} // closed when the last line is written

	mu      sync.Mutex // guards what follows; not held while out is written to
	queue   []line
	size    int    // bytes in queue
	pending uint64 // dropped and not reported yet
	err     error  // why out refused the last of them; nil: the queue was full
	dropped uint64 // in all
	closed  bool
}

// line is one call of Write, or a notice about dropped lines.
type line struct {
	text   []byte
	notice uint64 // how many were dropped; 0: this is not a notice
}

// NewWriter returns a Writer to out. notice returns the line about dropped lines; err is why
// out refused one of them, nil if it was too slow for all. Close ends the goroutine that writes.
func NewWriter(out io.Writer, notice func(dropped uint64, err error) []byte) *Writer {
	w := &Writer{out: out, notice: notice, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run() // ends at Close, which waits for it, unless out hangs
	return w
}

// Write queues one line or drops it. It never fails and never blocks.
func (w *Writer) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.size+len(text) > maxQueued {
		w.pending++
		w.dropped++
		return len(text), nil
	}
	w.tellLocked()
	w.putLocked(line{text: bytes.Clone(text)})
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return len(text), nil
}

// Dropped returns how many lines were dropped since the start.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Close stops taking lines and waits until the queued ones are written, at most for the
// given time. It reports whether they are.
func (w *Writer) Close(within time.Duration) bool {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.wake)
	}
	w.mu.Unlock()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-w.done:
		return true
	case <-late.C:
		return false
	}
}

func (w *Writer) run() {
	defer close(w.done)
	for open := true; open; {
		_, open = <-w.wake
		for {
			next, ok := w.take()
			if !ok {
				break
			}
			_, err := w.out.Write(next.text)
			w.written(next, err)
		}
	}
}

func (w *Writer) take() (line, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.queue = nil // free the memory of a long queue
		return line{}, false
	}
	next := w.queue[0]
	w.queue[0] = line{}
	w.queue = w.queue[1:]
	w.size -= len(next.text)
	return next, true
}

// written counts a line that out refused. After the last queued line it queues the
// notice, because there may be no other line for a long time.
func (w *Writer) written(last line, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil && len(w.queue) == 0:
		w.tellLocked()
	case err == nil:
	case last.notice > 0:
		w.pending += last.notice
		w.err = err
	default:
		w.pending++
		w.dropped++
		w.err = err
	}
}

func (w *Writer) tellLocked() {
	if w.pending > 0 {
		w.putLocked(line{w.notice(w.pending, w.err), w.pending})
		w.pending, w.err = 0, nil
	}
}

func (w *Writer) putLocked(l line) {
	w.queue = append(w.queue, l)
	w.size += len(l.text)
}
