package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
)

// lookAtConfigEvery is how often the configuration file is looked at. Its
// content is compared, because what editors, ConfigMaps and network file
// systems do to times and inodes is beyond prediction.
const lookAtConfigEvery = 2 * time.Second

// followConfig takes changes of the configuration over until ctx ends.
func (d *daemon) followConfig(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(lookAtConfigEvery)
	defer tick.Stop()
	last := fingerprint(d.cfg)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if d.cfg.File == "" {
				d.log.Info("SIGHUP: there is no configuration file to read again")
				d.reloadKeys()
				continue
			}
		case <-tick.C:
			if d.cfg.File == "" || fingerprint(d.cfg) == last {
				continue
			}
		}
		// Taken before the reading: a change in between is seen next time.
		last = fingerprint(d.cfg)
		d.reload()
	}
}

// fingerprint tells one content of the configuration's files from another.
func fingerprint(cfg *config.Config) [sha256.Size]byte {
	h := sha256.New()
	for _, path := range cfg.Files() {
		data, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d %v\n", path, len(data), err)
		_, _ = h.Write(data)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// reload reads the configuration again. One that is refused changes nothing.
func (d *daemon) reload() {
	next, err := config.Load(d.input)
	if err == nil && d.sandbox != nil {
		err = d.sandbox.adopt(next)
	}
	if err == nil && len(next.Accounts) == 0 {
		err = fmt.Errorf("%s: no account in it", next.File)
	}
	if err == nil {
		err = d.reloadFront(next)
	}
	if err != nil {
		d.log.Error("the new configuration is refused, the old one stays", "error", err)
		return
	}
	for _, w := range next.Warnings {
		d.log.Warn(w)
	}
	if fixed := next.Fixed(d.cfg); len(fixed) > 0 {
		d.log.Warn("these settings take effect at the next start", "settings", fixed)
	}
	d.reloadKeys()
	added, changed, removed := d.apply(next)
	d.log.Info("configuration read again", "added", added, "changed", changed, "removed", removed)
	d.cfg = next
}

// apply makes the coordinator's accounts those of next and returns how many
// were added, changed and removed.
func (d *daemon) apply(next *config.Config) (added, changed, removed int) {
	for _, a := range d.cfg.Accounts {
		if _, stays := next.Account(a.Name); !stays {
			_ = d.zk.Remove(a.Name)
			removed++
		}
	}
	for _, a := range next.Accounts {
		old, known := d.cfg.Account(a.Name)
		if known && old.Same(a) {
			continue
		}
		if err := d.applyAccount(a, old, known); err != nil {
			d.log.Error("an account is refused", "account", a.Name, "error", err)
			continue
		}
		if known {
			changed++
		} else {
			added++
		}
	}
	return added, changed, removed
}

func (d *daemon) applyAccount(a, old config.Account, known bool) error {
	account, err := newAccountConfig(a)
	if err != nil {
		return err
	}
	current, ok := d.zk.Account(a.Name)
	if known && ok && old.Limits == a.Limits && old.RefreshEvery == a.RefreshEvery {
		current.SetSource(account.Source) // keeps the token that callers have
		return nil
	}
	if ok {
		_ = d.zk.Remove(a.Name)
	}
	_, err = d.zk.Add(account)
	return err
}
