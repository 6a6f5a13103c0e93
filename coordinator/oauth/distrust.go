package oauth

import (
	"sync"
	"time"
)

// A host that rejects a token fresh from the issuer has another reason than the token: a
// right that is missing, an audience that is wrong. It is not believed again for
// distrustFirst, twice as long each time that this repeats, at most distrustMost.
// Otherwise each request there would cost a token, and many issuers bill or limit
// those. The longest wait bounds for how long a token that dies meanwhile is not
// reported by this process.
const (
	distrustFirst = time.Minute
	distrustMost  = 5 * time.Minute
)

// distrust remembers such hosts. The zero value is ready to use.
type distrust struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]unbelieved
}

type unbelieved struct {
	until time.Time
	wait  time.Duration
}

// believed reports whether the host's rejection of a token may be reported.
func (d *distrust) believed(host string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !time.Now().Before(d.hosts[host].until)
}

// learn notes whether the host rejected the token that a report had brought.
func (d *distrust) learn(host string, rejected bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !rejected {
		delete(d.hosts, host)
		return
	}
	if d.hosts == nil {
		d.hosts = make(map[string]unbelieved)
	}
	now, wait := time.Now(), distrustFirst
	if before, known := d.hosts[host]; known {
		if now.Before(before.until) { // of the same moment as the one before
			return
		}
		wait = min(2*before.wait, distrustMost)
	}
	d.hosts[host] = unbelieved{now.Add(wait), wait}
}
