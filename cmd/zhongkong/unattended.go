package main

import (
	"context"
	"slices"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/page"
)

// checkAttendanceEvery is how often the daemon looks for accounts that no process
// refreshes. One that is found twice in a row is logged: a process that is just
// being started or replaced needs some seconds.
const checkAttendanceEvery = 30 * time.Second

// watchAttendance logs accounts of which this process is a reader and that no
// process with the AppSecret refreshes, until ctx ends.
func (d *daemon) watchAttendance(ctx context.Context) {
	found := map[string]int{} // account :: how often in a row
	tick := time.NewTicker(checkAttendanceEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.logAttendance(found, d.unattended())
		}
	}
}

// unattended returns the accounts that no process refreshes, as far as this
// process knows.
func (d *daemon) unattended() []string {
	var names []string
	storeErr, now := d.zk.StoreError(), time.Now()
	for _, a := range d.zk.Accounts() {
		s := a.Status()
		parent, ok := d.zk.Account(s.Parent)
		if waits := ok && !parent.Status().Record.Usable(); !waits && page.Unattended(s, storeErr, now) {
			names = append(names, s.Name)
		}
	}
	return names
}

// logAttendance counts the accounts in found and logs those that were found for
// the second time, and those that no longer are.
func (d *daemon) logAttendance(found map[string]int, unattended []string) {
	var lost, back []string
	now := map[string]bool{}
	for _, name := range unattended {
		now[name] = true
		if found[name]++; found[name] == 2 {
			lost = append(lost, name)
		}
	}
	for name, times := range found {
		if now[name] {
			continue
		}
		if delete(found, name); times > 1 {
			back = append(back, name)
		}
	}
	if len(lost) > 0 {
		d.log.Warn("no process with the AppSecret answers: start one, better two: zhongkong serve", "accounts", list(lost))
	}
	if len(back) > 0 {
		slices.Sort(back)
		d.log.Info("a process with the AppSecret answers again", "accounts", list(back))
	}
}
