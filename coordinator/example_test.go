package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// A service that can refresh: with redisstore.New and wechat.NewSource in the
// places of the store and the source of this example.
func Example() {
	ctx := context.Background()
	c, err := coordinator.New(coordinator.Config{
		Store:    memstore.New(),
		Accounts: []coordinator.AccountConfig{{Name: "wx8acdb7df5beb68fd", Source: new(coordinatortest.Source)}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	stop := c.Start(ctx)
	defer stop()

	token, err := c.Token(ctx, "wx8acdb7df5beb68fd")
	fmt.Println(token, token.Reveal(), err)
	// Output: [token] token-1 <nil>
}

// A program that needs a token once does not have to Run.
func ExampleCoordinator_Drain() {
	ctx := context.Background()
	c, err := coordinator.New(coordinator.Config{Store: memstore.New()})
	if err != nil {
		fmt.Println(err)
		return
	}
	account, err := c.Add(coordinator.AccountConfig{Name: "wx8acdb7df5beb68fd", Source: new(coordinatortest.Source)})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := account.Token(ctx)
	fmt.Println(token.Reveal(), err)
	fmt.Println(c.Drain(ctx))
	// Output:
	// token-1 <nil>
	// <nil>
}

// When the issuer rejects a token, report exactly that token.
func ExampleAccount_Invalidate() {
	ctx := context.Background()
	c, _ := coordinator.New(coordinator.Config{Store: memstore.New()})
	account, _ := c.Add(coordinator.AccountConfig{Name: "wx8acdb7df5beb68fd", Source: new(coordinatortest.Source)})

	rejected, _ := account.Token(ctx)
	record, err := account.Invalidate(ctx, rejected)
	fmt.Println(record.Token.Reveal(), err)

	late, err := account.Invalidate(ctx, rejected) // another service was slower
	fmt.Println(late.Token.Reveal(), err)
	// Output:
	// token-2 <nil>
	// token-2 <nil>
}

// A process without the secret is a reader by the same API. Alone it can only
// say so.
func ExampleAccount_Token_reader() {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	c, _ := coordinator.New(coordinator.Config{Store: memstore.New()})
	account, _ := c.Add(coordinator.AccountConfig{Name: "wx8acdb7df5beb68fd"})

	_, err := account.Token(ctx)
	fmt.Println(errors.Is(err, coordinator.ErrNoToken))
	fmt.Println(err)
	// Output:
	// true
	// no token for "wx8acdb7df5beb68fd": context deadline exceeded: no process with the account's secret answered
}

// A source that needs another account's token gets it from the coordinator.
func ExampleAccountConfig_parent() {
	ctx := context.Background()
	ticket := coordinator.SourceFunc(func(_ context.Context, ask coordinator.FetchRequest) (coordinator.FetchResult, error) {
		token := "a ticket for " + ask.Parent.Token.Reveal()
		return coordinator.FetchResult{Token: coordinator.NewToken(token), Lifetime: 2 * time.Hour}, nil
	})
	c, err := coordinator.New(coordinator.Config{Store: memstore.New(), Accounts: []coordinator.AccountConfig{
		{Name: "wx8acdb7df5beb68fd", Source: new(coordinatortest.Source)},
		{Name: "wx8acdb7df5beb68fd.jsapi", Source: ticket, Parent: "wx8acdb7df5beb68fd"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := c.Token(ctx, "wx8acdb7df5beb68fd.jsapi")
	fmt.Println(token.Reveal(), err)
	// Output: a ticket for token-1 <nil>
}
