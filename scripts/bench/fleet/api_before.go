//go:build before

package main

import (
	"context"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// source is an account's source: it calls the issuer. It takes as little room as it can: the
// memory of an account is measured with it.
func source(s *issuer, account int, o *options) coordinator.Source {
	return coordinator.SourceFunc(func(context.Context, coordinator.Ask) (coordinator.Issue, error) {
		time.Sleep(o.source)
		return coordinator.Issue{Token: coordinator.NewToken(s.issue(account)), Life: 2 * o.every}, nil
	})
}
