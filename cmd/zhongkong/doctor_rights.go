package main

import (
	"context"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

// mostSingle is up to how many accounts a Redis user is expected to have rules of single
// accounts. Redis compares each key with all of them.
const mostSingle = 1000

// namesWith returns the accounts of this process and those that are asked about.
func (x checks) namesWith(args []string) []string {
	names := x.configuredNames()
	for _, name := range args {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// singleNames returns the names of the accounts that the user may have rules of single
// accounts for: none if they are too many.
func singleNames(names []string) []string {
	if len(names) > mostSingle {
		return nil
	}
	return names
}

// rights tries all commands, keys and channels that the accounts of these names need.
func (x checks) rights(ctx context.Context, names []string) {
	role := x.role()
	missing, single, err := x.missingRights(ctx, names)
	switch {
	case err != nil:
		x.warn("rights", "", "could not be tried: %v", err)
	case len(missing) > 0:
		rules := missing
		if !single {
			rules = x.rules(missing, role)
		}
		fix := "ACL SETUSER <user> " + strings.Join(rules, " ")
		if len(names) == 0 {
			fix += "; if it is to read single accounts only, name them: zhongkong doctor NAME..."
		}
		x.fail("rights", fix, "the Redis user lacks rights that a %s needs: %s", role, strings.Join(missing, " "))
	case single:
		x.singleRights(ctx, role, names)
	default:
		x.ok("rights", "the Redis user has all rights that a %s needs", role)
	}
}

// singleRights says what works less well if the user's rules name single accounts.
func (x checks) singleRights(ctx context.Context, role coordinator.Role, names []string) {
	switch shared, err := redisadmin.New(x.store).MissingSharedACL(ctx, role); {
	case err != nil:
		x.warn("rights", "", "could not be tried: %v", err)
	case len(shared) > 0:
		x.warn("rights", "ACL SETUSER <user> "+strings.Join(shared, " "),
			"the Redis user has all rights that a %s needs for %s, but not to the log and the index of changes, which all accounts share: each account is read once a minute",
			role, list(names))
	default:
		x.ok("rights", "the Redis user has all rights that a %s needs for %s", role, list(names))
	}
}

// missingRights returns the rules that the user lacks for these accounts, as the refresher or
// the reader of each. single: its rules name single accounts, and so do those that it lacks.
func (x checks) missingRights(ctx context.Context, names []string) (missing []string, single bool, err error) {
	of := map[coordinator.Role][]string{x.role(): nil}
	for _, name := range names {
		role := coordinator.Reader
		if a, configured := x.cfg.Account(name); configured && x.cfg.Refreshing(a) {
			role = coordinator.Refresher
		}
		of[role] = append(of[role], name)
	}
	admin := redisadmin.New(x.store)
	for _, role := range []coordinator.Role{coordinator.Refresher, coordinator.Reader} {
		names, some := of[role]
		if !some {
			continue
		}
		lacks, one, err := missingRules(names, func(accounts ...string) ([]string, error) {
			return admin.MissingACL(ctx, role, accounts...)
		})
		if err != nil {
			return nil, false, err
		}
		single = single || one
		for _, rule := range lacks {
			both := "~" + strings.TrimPrefix(rule, "%R~")
			if !slices.Contains(missing, rule) && !slices.Contains(missing, both) {
				missing = append(missing, rule)
			}
		}
	}
	return missing, single, nil
}

// missingRules returns the rules that try reports as missing for all accounts or, if the user
// lacks less for these, what it lacks for these.
func missingRules(names []string, try func(accounts ...string) ([]string, error)) (missing []string, single bool, err error) {
	names = singleNames(names)
	missing, err = try()
	if err != nil || len(names) == 0 || !slices.ContainsFunc(missing, namesAll) {
		return missing, false, err
	}
	own, err := try(names...)
	if err != nil {
		return nil, false, err
	}
	for _, rule := range missing {
		for _, name := range names {
			if namesAll(rule) && !slices.Contains(own, strings.ReplaceAll(rule, "{*}", "{"+name+"}")) {
				return own, true, nil
			}
		}
	}
	return missing, false, nil
}

// namesAll reports whether a rule is for the keys or the channels of all accounts.
func namesAll(rule string) bool { return strings.Contains(rule, "{*}") }

// rules returns the rules that grant what is missing. A command that is denied hides
// which keys and channels are denied, so in that case all rules of the role are
// returned. Other rights of the user stay.
func (x checks) rules(missing []string, role coordinator.Role) []string {
	if !slices.ContainsFunc(missing, func(rule string) bool { return strings.HasPrefix(rule, "+") }) {
		return missing
	}
	var all []string
	for _, rule := range append(redisadmin.RequiredACL(x.prefix, role), missing...) {
		resets := strings.HasPrefix(rule, "reset") || strings.HasPrefix(rule, "-")
		if !resets && !slices.Contains(all, rule) {
			all = append(all, rule)
		}
	}
	return all
}
