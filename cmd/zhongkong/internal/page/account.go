package page

import (
	"context"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/wire"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

const (
	// shownHistory is how many entries of its log an account's page shows.
	shownHistory = 100
	// maxProcesses is how many processes are named.
	maxProcesses = 20
)

// account is what the page of an account shows besides its card.
type account struct {
	Card      card
	History   []event
	Left      bool // History leaves entries out
	NoHistory bool // the log cannot be read
	Graph     *graph
	Processes []process
	Readers   []wire.Reader
}

// process is a process in the account's log. Whether it still runs is not known, unless
// it is this one.
type process struct {
	Name   string
	Last   event
	This   bool // it made this page
	Issued bool // the current token
	Busy   bool // it is refreshing
}

func (p *Page) account(ctx context.Context, c card, all bool, now time.Time) *account {
	a := &account{Card: c}
	n := shownHistory
	if all {
		n = redisadmin.WholeLog
	}
	log, err := p.history.read(ctx, depth{c.Name, n + 1})
	if a.NoHistory = err != nil; a.NoHistory {
		log = heard(p.cfg.Events, func(account string) bool { return account == c.Name })
	}
	a.Graph = newGraph(log, now)
	a.Processes = processes(log, c, plain(p.cfg.Instance))
	a.Left = len(log) > n
	a.History = log[:min(len(log), n)]
	return a
}

// processes returns the processes in the log, the last one seen first, after those that
// are at work now.
func processes(log []event, c card, this string) []process {
	var all []process
	note := func(name string) {
		if name == "" || slices.ContainsFunc(all, func(p process) bool { return p.Name == name }) {
			return
		}
		p := process{Name: name, This: name == this, Issued: name == c.IssuedBy, Busy: name == c.Holder}
		if i := slices.IndexFunc(log, func(e event) bool { return e.By == name }); i >= 0 {
			p.Last = log[i]
		}
		all = append(all, p)
	}
	for _, name := range []string{c.Holder, c.IssuedBy, this} {
		note(name)
	}
	for _, e := range log { // the newest first
		note(e.By)
	}
	return all[:min(len(all), maxProcesses)]
}
