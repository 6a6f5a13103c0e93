package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// archiveSealer returns what an export is sealed with: the keys of --key-file, or else
// those of the store. It is the same for every prefix, because the fleet that takes it
// over may have another one.
func (s *session) archiveSealer(c *cli.Context) (grantSealer, error) {
	place := grantSealer{keys: s.keys, place: "{" + sealedExport + "}"}
	if path := c.String("key-file"); path != "" {
		keys, err := seal.Load(path, s.log)
		if err != nil {
			return grantSealer{}, &configError{fmt.Errorf("--key-file: %w", err)}
		}
		place.keys = keys
	}
	if place.keys == nil {
		return grantSealer{}, usagef("an export is always sealed: give --seal-key-file, or --key-file (make a key with `zhongkong keygen`)")
	}
	return place, nil
}

// exportGrants prints an archive of the named accounts' grants, or else of all. It
// prints nothing if one of them cannot be read.
func exportGrants(ctx context.Context, s *session, c *cli.Context, names []string) error {
	for _, name := range names {
		if _, err := checked(name); err != nil {
			return err
		}
	}
	sealer, err := s.archiveSealer(c)
	if err != nil {
		return err
	}
	all := len(names) == 0
	if all {
		if names, err = s.allNames(ctx); err != nil {
			return err
		}
	}
	e := grantExport{store: s.store, at: map[string]int{}}
	if err := e.collect(ctx, names); err != nil {
		return s.withAdvice(err)
	}
	switch {
	case !all && len(e.without) > 0:
		return fmt.Errorf("nothing is exported: Redis at %s with prefix %q has no grant of %s", s.where(), s.prefix, list(e.without))
	case len(e.records) == 0:
		return fmt.Errorf("there is no grant to export in Redis at %s with prefix %q", s.where(), s.prefix)
	}
	for _, name := range e.underWay {
		fmt.Fprintf(s.stderr, "warning: %s is just being refreshed: what that brings is not in this export; stop the fleet and export again\n", escape(name))
	}
	if err := grantfile.WriteArchive(s.stdout, sealer, e.records); err != nil {
		return err
	}
	fmt.Fprintf(s.stderr, "exported %d accounts, sealed with key %s\n", len(e.records), sealer.keys.First())
	return nil
}

// allNames returns the accounts that have a grant in Redis, as far as the Redis user may
// search for them, and those of the configuration that need one. Their members come with
// them.
func (s *session) allNames(ctx context.Context) ([]string, error) {
	names, err := redisadmin.New(s.store).GrantAccounts(ctx)
	switch configured := s.cfg.NeedsGrants(); {
	case err == nil:
		return append(names, configured...), nil
	case len(configured) == 0 || errors.Is(err, coordinator.ErrUnreachable):
		return nil, s.withAdvice(err)
	default:
		fmt.Fprintf(s.stderr, "warning: Redis cannot be searched (%s): only the configured accounts and their members are exported\n", escape(err.Error()))
		return configured, nil
	}
}

// grantExport collects the grants of accounts and of their members.
type grantExport struct {
	store    coordinator.GrantStore
	records  []grantfile.Record
	at       map[string]int // :: account → its index in records
	underWay []string       // accounts of which an answer may still come
	without  []string       // accounts that have no grant, no members, and are none
}

func (e *grantExport) collect(ctx context.Context, names []string) error {
	seen := map[string]bool{}
	for len(names) > 0 {
		name := names[0]
		if names = names[1:]; seen[name] {
			continue
		}
		seen[name] = true
		r, err := e.store.LoadGrant(ctx, name)
		if err != nil {
			return fmt.Errorf("read the grant of %q: %w", name, err)
		}
		members, err := e.store.GrantMembers(ctx, name)
		if err != nil {
			return fmt.Errorf("read the members of %q: %w", name, err)
		}
		switch _, member := e.at[name]; {
		case r.Grant.Version > 0:
			e.records[e.record(name)].Grant = r.Grant
		case len(members) == 0 && !member:
			e.without = append(e.without, name)
		}
		for _, p := range r.Grant.Presentations {
			if !p.Over && r.Now.Before(p.Until) {
				e.underWay = append(e.underWay, name)
				break
			}
		}
		slices.Sort(members)
		for _, member := range members {
			i := e.record(member)
			e.records[i].MemberOf = append(e.records[i].MemberOf, name)
		}
		names = append(names, members...)
	}
	return nil
}

// record returns the index of an account's record, which it makes.
func (e *grantExport) record(account string) int {
	i, found := e.at[account]
	if !found {
		i = len(e.records)
		e.at[account] = i
		e.records = append(e.records, grantfile.Record{Account: account})
	}
	return i
}

// restoreGrants puts the grants of an archive into the store, except where that has
// something newer. It writes nothing unless the archive is whole.
func restoreGrants(ctx context.Context, s *session, c *cli.Context, _ []string) error {
	sealer, err := s.archiveSealer(c)
	if err != nil {
		return err
	}
	if s.keys == nil {
		return usagef("grants in Redis are always sealed: give --seal-key-file")
	}
	records, err := await(ctx, func() ([]grantfile.Record, error) {
		records, err := grantfile.ReadArchive(s.stdin, sealer)
		if err != nil {
			return nil, &usageError{err.Error()} // stdin, or the key, is a wrong one
		}
		return records, nil
	})
	if err != nil {
		return fmt.Errorf("read stdin: %w", err)
	}
	results := make([]error, len(records))
	newer, there := make([]bool, len(records)), make([]bool, len(records))
	inParallel(len(records), func(i int) {
		newer[i], there[i], results[i] = s.restoreGrant(ctx, s.store, records[i])
	})
	restored, before := 0, 0
	for i, r := range records {
		switch {
		case results[i] != nil:
		case newer[i]:
			fmt.Fprintf(s.stderr, "%s: not restored: Redis has a newer grant\n", escape(r.Account))
		default:
			restored++
			if there[i] {
				before++
			}
		}
	}
	unchanged := ""
	if before > 0 {
		unchanged = fmt.Sprintf(": %d of %d were there already", before, len(records))
	}
	fmt.Fprintf(s.stderr, "restored %d of %d accounts%s\n", restored, len(records), unchanged)
	return s.withAdvice(errors.Join(results...))
}

// restoreGrant reports whether the store has a newer grant than the archive, or had the
// same one. An account whose newer grant was withdrawn does not become a member again.
func (s *session) restoreGrant(ctx context.Context, store coordinator.GrantStore, r grantfile.Record) (newer, there bool, err error) {
	if r.Grant.Version > 0 {
		read, err := store.LoadGrant(ctx, r.Account)
		if err != nil {
			return false, false, fmt.Errorf("read the grant of %q: %w", r.Account, err)
		}
		newer, there = r.Grant.Older(read.Grant), r.Grant.Same(read.Grant)
		a, _ := s.cfg.Account(r.Account)
		rules := a.Grant
		rules.Received = rules.Received || a.Kind().Members != nil // also if its secret is not here, so that nothing describes its source
		summary := r.Grant.Summary(rules, read.Now)
		if err := confirmed(ctx, func() error { return store.RestoreGrant(ctx, r.Account, r.Grant, summary) }); err != nil {
			return false, false, fmt.Errorf("restore the grant of %q: %w", r.Account, err)
		}
		if newer && len(read.Grant.Tokens) == 0 {
			return newer, there, nil
		}
	}
	for _, parent := range r.MemberOf {
		if err := confirmed(ctx, func() error { return store.SetGrantMember(ctx, parent, r.Account, true) }); err != nil {
			return newer, there, fmt.Errorf("restore %q as a member of %q: %w", r.Account, parent, err)
		}
	}
	return newer, there, nil
}

// confirmed repeats what the store has not confirmed to be durable, for a while.
func confirmed(ctx context.Context, do func() error) error {
	const tries = 5
	var err error
	for range tries {
		if err = do(); !errors.Is(err, coordinator.ErrUnconfirmed) {
			return err
		}
		if !pause(ctx, time.Second) {
			return err
		}
	}
	return err
}

// inParallel calls f for 0 to n-1, some at once.
func inParallel(n int, f func(i int)) {
	const atOnce = 16
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() { // ends with f; inParallel waits for it
			f(i)
			<-slots
		})
	}
	wg.Wait()
}
