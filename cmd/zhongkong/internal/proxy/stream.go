package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// paced is a ResponseWriter that moves the connection's deadlines on as long as
// the client takes and sends something: a server's own deadlines are for whole
// answers, and would end a long body.
//
// Over HTTP/1 a deadline ends what waits when it has passed, so that one may be left
// behind. Over HTTP/2 it is a timer that resets the stream, whether anything waits or
// not: there is one only during a write or a read.
type paced struct {
	http.ResponseWriter
	call   *call
	status int
	timed  bool         // deadlines are timers
	moved  atomic.Int64 // Unix nanoseconds of the last time
	broken bool         // the client did not take the answer
}

// Unwrap is for http.ResponseController.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// begin prepares for writing through p.
func (p *paced) begin(w http.ResponseWriter, c *call) {
	p.ResponseWriter, p.call, p.timed = w, c, c.in.ProtoMajor >= 2
	p.moved.Store(c.began.UnixNano()) // a server's own deadlines are long enough at first
	p.endWrite()
}

// WriteHeader fills or cleans the header: that of an answer with a status below 200
// comes with the upstream's.
func (p *paced) WriteHeader(status int) {
	if status >= http.StatusOK {
		p.status = status
		p.call.giveHead(p.Header())
		p.ResponseWriter.WriteHeader(status)
		return
	}
	p.call.clean(p.Header())
	p.beginWrite() // such a head is sent at once
	p.ResponseWriter.WriteHeader(status)
	p.endWrite()
}

func (p *paced) Write(b []byte) (int, error) {
	p.beginWrite()
	n, err := p.ResponseWriter.Write(b)
	p.endWrite()
	p.broken = p.broken || err != nil
	return n, err
}

// FlushError is for http.ResponseController: over HTTP/2 it writes more than Write.
func (p *paced) FlushError() error {
	p.beginWrite()
	err := http.NewResponseController(p.ResponseWriter).Flush()
	p.endWrite()
	return err
}

// beginWrite gives the client time to take what is written next.
func (p *paced) beginWrite() {
	if p.timed || p.isDue() {
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(clientStall))
	}
}

func (p *paced) endWrite() {
	if p.timed {
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// isDue reports whether a second has passed since the deadlines were moved.
func (p *paced) isDue() bool {
	now, before := time.Now().UnixNano(), p.moved.Load()
	return now-before >= int64(time.Second) && p.moved.CompareAndSwap(before, now)
}

// boundBody gives the client time to send its body, also where nothing here reads it:
// over HTTP/1, net/http does so before it sends an answer.
func boundBody(w http.ResponseWriter, req *http.Request) {
	if req.ContentLength != 0 && req.ProtoMajor < 2 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(clientStall)) // recorders have none
	}
}

// upload is the body of a request on its way.
type upload struct {
	io.ReadCloser
	call    *call
	trailer http.Header // of the upstream's request
	end     error       // once there was one
	broken  atomic.Bool // the end was another than io.EOF
}

// Read does not read on after the end: the server closes a body when its answer
// begins, and a transport that looks for the end a second time would take the
// error for a broken call.
func (u *upload) Read(b []byte) (int, error) {
	if u.end != nil {
		return 0, u.end
	}
	if u.call.caller.IsRevoked() {
		return 0, errRevoked
	}
	if !u.call.whileHandled(u.beginRead) {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := u.ReadCloser.Read(b)
	u.call.route.counts.sent.Add(uint64(n))
	if errors.Is(err, io.EOF) || u.call.paced.timed {
		u.call.whileHandled(endRead)
	}
	if err != nil {
		u.end = err
		u.broken.Store(!errors.Is(err, io.EOF))
		for name := range u.trailer {
			u.trailer[name] = u.call.in.Trailer[name]
		}
	}
	return n, err
}

// beginRead gives the client time to send what is read next; over HTTP/1 it has some
// already (see boundBody).
func (u *upload) beginRead(control *http.ResponseController) {
	p := &u.call.paced
	switch {
	case p.timed:
		_ = control.SetReadDeadline(time.Now().Add(clientStall))
	case p.isDue():
		_ = control.SetReadDeadline(time.Now().Add(clientStall))
		_ = control.SetWriteDeadline(time.Now().Add(answerWithin + refreshWithin + clientStall))
	}
}

// endRead takes the deadline away: one that passed after the body's end would end the
// request's context. A body that broke keeps it, for net/http reads on.
func endRead(control *http.ResponseController) { _ = control.SetReadDeadline(time.Time{}) }

// announced returns the request's trailers that may be passed on, still without
// values.
func (r *route) announced(trailer http.Header) http.Header {
	if len(trailer) == 0 {
		return nil
	}
	kept := make(http.Header, len(trailer))
	for name := range trailer {
		if !isReserved(name) && r.passes(name) {
			kept[name] = nil
		}
	}
	return kept
}

// download is the body of an answer on its way.
type download struct {
	io.Reader
	io.Closer
	call *call
	resp *http.Response

	broken bool // the body could not be read to its end
}

func (d *download) Read(b []byte) (int, error) {
	if d.call.caller.IsRevoked() {
		d.broken = true
		return 0, errRevoked
	}
	if !d.call.inMemory {
		d.call.expectBody()
	}
	n, err := d.Reader.Read(b)
	d.call.route.counts.received.Add(uint64(n))
	switch {
	case errors.Is(err, io.EOF):
		d.call.hide.dropNames(d.resp.Trailer) // those that were not announced
		for _, values := range d.resp.Trailer {
			d.call.hide.hideIn(values)
		}
	case err != nil:
		d.broken = true
	}
	return n, err
}

// late is a context with a time-out that begins when it is first asked for. What
// is answered from memory never asks.
type late struct {
	context.Context
	after time.Duration

	once   sync.Once
	timed  context.Context
	cancel context.CancelFunc
}

func (l *late) begin() context.Context {
	l.once.Do(func() { l.timed, l.cancel = context.WithTimeout(l.Context, l.after) })
	return l.timed
}

func (l *late) Done() <-chan struct{}       { return l.begin().Done() }
func (l *late) Err() error                  { return l.begin().Err() }
func (l *late) Deadline() (time.Time, bool) { return l.begin().Deadline() }

// end frees what was begun.
func (l *late) end() {
	l.once.Do(func() {})
	if l.cancel != nil {
		l.cancel()
	}
}

// expectBody gives the upstream answerStall, from now, to send some of its answer's body.
func (c *call) expectBody() { c.expects.Store(int64(time.Since(c.began)) + 1) }

// stallsIn returns when the upstream will have sent nothing for too long. A transport
// bounds itself how long the head may take.
func (c *call) stallsIn() time.Duration {
	since := time.Duration(c.expects.Load())
	if since == 0 {
		return answerStall
	}
	return answerStall - (time.Since(c.began) - (since - 1))
}

var errStalled = errors.New("the upstream sends nothing")

// watch cancels a call when its caller is revoked or its upstream stalls. It begins after
// a second, so that calls that take less need no goroutine; the timer that it returns is
// to be stopped, and ctx to be cancelled.
func (c *call) watch(ctx context.Context, cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(time.Second, func() {
		stall := time.NewTimer(c.stallsIn())
		defer stall.Stop()
		for {
			select {
			case <-c.caller.Revoked():
				cancel(errRevoked)
				return
			case <-ctx.Done():
				return
			case <-stall.C:
			}
			left := c.stallsIn()
			if left <= 0 {
				cancel(errStalled)
				return
			}
			stall.Reset(left)
		}
	})
}
