package grantfile_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/grantfile"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// strictIssuer uses a refresh token up when it is presented, and ends the grant when a
// used one comes again.
type strictIssuer struct {
	mu      sync.Mutex // guards what follows
	refresh string     // the one that is valid
	calls   int
	dead    string // why the grant has ended; "": it lives
}

func (*strictIssuer) Description() coordinator.Description {
	return coordinator.Description{Grant: coordinator.GrantRules{Needed: true}, RefreshEvery: 24 * time.Hour}
}

func (i *strictIssuer) Fetch(_ context.Context, r coordinator.FetchRequest) (coordinator.FetchResult, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if presented := r.Grant.Token.Reveal(); presented != i.refresh || i.dead != "" {
		i.dead = fmt.Sprintf("%q was presented, %q is valid", presented, i.refresh)
		return coordinator.FetchResult{}, &coordinator.FetchError{Kind: coordinator.FailedGrant, Message: "invalid_grant"}
	}
	i.calls++
	i.refresh = fmt.Sprintf("refresh-%d", i.calls)
	return coordinator.FetchResult{
		Token: coordinator.NewToken(fmt.Sprintf("access-%d", i.calls)), Lifetime: time.Hour, Grant: coordinator.NewToken(i.refresh),
	}, nil
}

// lives fails the test unless the grant lives and was used since.
func (i *strictIssuer) lives(t *testing.T, when string, calls int) int {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead != "" || i.calls <= calls {
		t.Fatalf("%s: %d refreshes, %d before; the issuer has ended the grant because %q", when, i.calls, calls, i.dead)
	}
	return i.calls
}

// member starts a process of a fleet; stop ends it.
func member(t *testing.T, store coordinator.Store, issuer *strictIssuer, dir string) (account *coordinator.Account, stop func()) {
	t.Helper()
	spool := must(grantfile.OpenSpool(dir+"/spool", "member", current))(t)
	zk := must(coordinator.New(coordinator.Config{
		Store: store, ProbeEvery: time.Minute, Spool: spool, Copy: openCopy(t, dir+"/copy", current),
		Accounts: []coordinator.AccountConfig{{Name: "crm", Source: issuer}},
	}))(t)
	account, _ = zk.Account("crm")
	end := zk.Start(t.Context())
	return account, func() { end(); _ = spool.Close() }
}

func consent(t *testing.T, a *coordinator.Account, token string) {
	t.Helper()
	if err := a.Consent(t.Context(), coordinator.Consent{Token: coordinator.NewToken(token)}); err != nil {
		t.Fatal(err)
	}
}

func TestAFleetGetsItsGrantBackFromTheCopy(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		issuer := &strictIssuer{refresh: "refresh-0"}
		store := memstore.New()
		first, stopFirst := member(t, store.Instance("first"), issuer, dir)
		_, stopSecond := member(t, store.Instance("second"), issuer, dir)
		consent(t, first, "refresh-0")
		time.Sleep(10 * time.Hour)
		calls := issuer.lives(t, "after ten hours", 0)

		store.Flush() // the processes remember it
		time.Sleep(3 * time.Hour)
		calls = issuer.lives(t, "after the store lost everything", calls)

		stopFirst()
		stopSecond()
		store.Flush() // nobody remembers it
		_, stopThird := member(t, store.Instance("third"), issuer, dir)
		time.Sleep(3 * time.Hour)
		issuer.lives(t, "after the store and all processes lost everything", calls)
		stopThird()
	})
}

func TestAFleetIsMovedByItsArchive(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		issuer := &strictIssuer{refresh: "refresh-0"}
		from, to := memstore.New(), memstore.New()
		account, stop := member(t, from.Instance("old"), issuer, dir+"/old")
		consent(t, account, "refresh-0")
		time.Sleep(10 * time.Hour)
		calls := issuer.lives(t, "before it is moved", 0)
		stop()

		var archive strings.Builder
		read := must(from.LoadGrant(t.Context(), "crm"))(t)
		if err := grantfile.WriteArchive(&archive, current, []grantfile.Record{{Account: "crm", Grant: read.Grant}}); err != nil {
			t.Fatal(err)
		}
		record := must(grantfile.ReadArchive(strings.NewReader(archive.String()), current))(t)[0]
		summary := record.Grant.Summary(issuer.Description().Grant, time.Now())
		if err := to.RestoreGrant(t.Context(), record.Account, record.Grant, summary); err != nil {
			t.Fatal(err)
		}
		moved, stop := member(t, to.Instance("new"), issuer, dir+"/new")
		time.Sleep(5 * time.Hour)
		issuer.lives(t, "after it was moved", calls)
		if token := must(moved.Token(t.Context()))(t); token.IsZero() {
			t.Error("there is no token")
		}
		stop()
	})
}
