package httpapi

import (
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// desk is where one account's answers are made.
type desk struct {
	account *coordinator.Account
	last    atomic.Pointer[answer]
	vigil   vigil
	checker checker
}

// answer is an encoded record. It is immutable: everybody who asks in the same
// second shares one.
type answer struct {
	generation coordinator.Fence
	stale      bool
	expiresIn  int64 // seconds
	useFor     int64 // likewise, at most expiresIn; see useFor

	body   []byte
	etag   []string
	length []string

	head   []byte // of body, up to the seconds; the same for the generation's whole life
	quoted []byte // the token as a JSON string
}

// encode returns the answer for a snapshot. Only the first one in a second
// costs anything.
func (d *desk) encode(s coordinator.Snapshot) *answer {
	expiresIn := max(int64(s.TTL/time.Second), 0)
	last := d.last.Load()
	if last != nil && last.generation == s.Generation {
		if last.stale == s.Stale && last.expiresIn == expiresIn {
			return last
		}
		next := *last
		next.complete(d.account, s)
		d.last.Store(&next)
		return &next
	}
	next := newAnswer(d.account, s)
	next.complete(d.account, s)
	// A reader that was overtaken may put an older answer here: it is then
	// simply not the one asked for next.
	d.last.Store(next)
	return next
}

func newAnswer(account *coordinator.Account, s coordinator.Snapshot) *answer {
	quoted, _ := json.Marshal(s.Token.Reveal()) // a string can be encoded
	name, _ := json.Marshal(account.Name())
	generation := strconv.FormatUint(uint64(s.Generation), 10)
	head := append([]byte(`{"name":`), name...)
	head = append(append(head, `,"access_token":`...), quoted...)
	head = append(append(head, `,"generation":`...), generation...)
	head = append(append(head, `,"issued_at":"`...), timestamp(s.IssuedAt)...)
	head = append(append(head, `","expires_at":"`...), timestamp(s.ExpiresAt)...)
	head = append(head, `","expires_in":`...)
	return &answer{
		generation: s.Generation,
		etag:       []string{`"` + generation + `"`},
		head:       head,
		quoted:     quoted,
	}
}

// complete fills in what changes within a generation.
func (a *answer) complete(account *coordinator.Account, s coordinator.Snapshot) {
	a.stale = s.Stale
	a.expiresIn = max(int64(s.TTL/time.Second), 0)
	a.useFor = min(a.expiresIn, int64(useFor(account.Status(), s.Record, time.Now())/time.Second))
	a.body = a.bodySaying(a.useFor)
	a.length = []string{strconv.Itoa(len(a.body))}
}

// bodySaying is the body for a caller who is told this many seconds.
func (a *answer) bodySaying(useFor int64) []byte {
	body := make([]byte, 0, len(a.head)+len(`7200,"use_for":3900,"stale":false}`)+1)
	body = strconv.AppendInt(append(body, a.head...), a.expiresIn, 10)
	body = strconv.AppendInt(append(body, `,"use_for":`...), useFor, 10)
	body = strconv.AppendBool(append(body, `,"stale":`...), a.stale)
	return append(body, '}', '\n')
}

// timestamp is how instants look everywhere outside.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// desks are the desks of all accounts.
type desks struct {
	all  sync.Map // :: *coordinator.Account → *desk
	made atomic.Int64
}

// of returns the account's desk. An account that was removed and added again
// is another account.
func (d *desks) of(a *coordinator.Account, known func() []*coordinator.Account) *desk {
	if found, ok := d.all.Load(a); ok {
		return found.(*desk)
	}
	found, loaded := d.all.LoadOrStore(a, newDesk(a))
	if !loaded {
		if n := d.made.Add(1); n%1024 == 0 {
			d.sweep(known())
		}
	}
	return found.(*desk)
}

func newDesk(a *coordinator.Account) *desk {
	d := &desk{account: a}
	d.vigil.desk = d
	return d
}

// sweep drops the desks of accounts that were removed.
func (d *desks) sweep(known []*coordinator.Account) {
	alive := make(map[*coordinator.Account]bool, len(known))
	for _, a := range known {
		alive[a] = true
	}
	d.all.Range(func(a, _ any) bool {
		if !alive[a.(*coordinator.Account)] {
			d.all.Delete(a)
		}
		return true
	})
}
