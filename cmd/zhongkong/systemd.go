package main

import (
	"context"
	"fmt"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// This file is what serve tells the service manager that has started it, as
// sd_notify(3) says: that it is ready, that it stops, and that it is alive. Started by
// anything else it tells nothing.

func (d *daemon) tellManager(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		d.log.Warn("the service manager could not be told", "state", state, "error", err)
	}
}

// tellManagerOfTheStop says that this process stops, and asks for the time that this may
// take, in case TimeoutStopSec= of the unit is shorter.
func (d *daemon) tellManagerOfTheStop() {
	d.tellManager(systemd.SdNotifyStopping)
	d.tellManager(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (d.started.DrainDelay + d.stopTime()).Microseconds()))
}

// feedWatchdog tells the service manager that this process is alive, for as long as ctx
// lasts and every account answers: one whose lock is never released ends the process,
// and a new one starts. An unreachable Redis is no reason: a process that holds tokens
// then is worth more than a new one.
func (d *daemon) feedWatchdog(ctx context.Context) {
	within, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		d.log.Warn("the service manager's watchdog is not used", "error", err)
	}
	if within == 0 {
		return
	}
	tick := time.NewTicker(within / 3)
	defer tick.Stop()
	for {
		for _, a := range d.zk.Accounts() {
			a.Status()
		}
		d.tellManager(systemd.SdNotifyWatchdog)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
