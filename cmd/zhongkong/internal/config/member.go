package config

import (
	"fmt"
	"slices"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
)

// Members returns the accounts of a member that has appeared: itself, and those of its
// tickets, parents first. of is the account that it lives on.
func (c *Config) Members(of Account, name string) ([]Account, error) {
	kind := of.Kind().Members
	member := Account{
		Name: name, Label: of.Label, Source: kind.Kind(of.Values()), APIBase: of.APIBase, Of: of.Name, Pages: of.Pages,
		given: given{limits: noLimits()}, values: sources.Values{Text: kind.Fields(of.Values(), name)}, where: of.where,
	}
	all := []Account{member}
	for _, word := range of.MemberTickets {
		all = append(all, member.ticket(word, member.Kind().Tickets[word]))
	}
	known := c.With(all)
	for i := range all {
		if err := known.describe(&all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// CheckMember reports whether the accounts of a member, which appear by themselves, have the
// name of another that is configured.
func (c *Config) CheckMember(of Account, name string) error {
	names := []string{name}
	for _, word := range of.MemberTickets {
		names = append(names, Account{Name: name}.ticket(word, "").Name)
	}
	for _, name := range names {
		taken, ok := c.Account(name)
		if !ok {
			continue
		}
		remedy := "give that one another name"
		if _, has := taken.Kind().Field("appid"); has {
			remedy += fmt.Sprintf(", and this one as its AppID (name: OTHER, appid: %s)", taken.AppID())
		}
		return fmt.Errorf("%s: account %q has the name of one that appears by itself, because of account %q: %s", taken.where, name, of.Name, remedy)
	}
	return nil
}

// checkMembers checks those that the configuration names.
func (c *Config) checkMembers(p *problems) {
	for _, a := range c.Accounts {
		members := a.Kind().Members
		if members == nil {
			continue
		}
		for _, id := range sources.Authorizers(a.Values()) {
			if err := c.CheckMember(a, members.Name(a.Values(), id)); err != nil {
				p.addf("%v", err)
			}
		}
	}
}

// With returns a copy of c that has these accounts, too. c and the copy stay as they are.
func (c *Config) With(accounts []Account) *Config {
	next := *c
	next.Accounts = slices.Concat(c.Accounts, accounts)
	next.indexAccounts()
	return &next
}

// mayAppear reports whether an account of this name may appear by itself.
func (c *Config) mayAppear(name string) bool {
	return slices.ContainsFunc(c.Accounts, func(a Account) bool {
		members := a.Kind().Members
		return members != nil && members.Named(a.Values(), name)
	})
}
