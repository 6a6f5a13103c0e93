package metrics_test

import (
	"testing"
	"time"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/metrics"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

// granted is a source that presents a grant.
type granted struct{ *coordinatortest.Source }

func (granted) Description() coordinator.Description {
	return coordinator.Description{Grant: coordinator.GrantRules{Needed: true}}
}

// addGrant adds an account with a grant that ends.
func addGrant(t *testing.T, zk *coordinator.Coordinator) {
	t.Helper()
	account, err := zk.Add(coordinator.AccountConfig{Name: "crm", Source: granted{new(coordinatortest.Source)}})
	if err != nil {
		t.Fatal(err)
	}
	consent := coordinator.Consent{Token: coordinator.NewToken("secret-refresh-token"), Idle: time.Hour, Ends: 24 * time.Hour}
	if err := account.Consent(t.Context(), consent); err != nil {
		t.Fatal(err)
	}
}

func TestGrantsAreRead(t *testing.T) {
	m := metrics.New(metrics.Build{Version: "v1"})
	zk, err := coordinator.New(coordinator.Config{Store: memstore.New()})
	if err != nil {
		t.Fatal(err)
	}
	addGrant(t, zk)
	run(t, zk)
	crm := zk.Accounts()[0]
	if _, err := crm.Token(t.Context()); err != nil { // for which the grant is presented
		t.Fatal(err)
	}
	eventually(t, "the grant to be good again", func() bool { return crm.Status().Grant.Condition == coordinator.GrantGood })
	m.Follow(zk)
	wantLines(t, scrape(m),
		`zhongkong_grant_status{account="crm",by="consent",condition="good"} 1`,
		`zhongkong_grant_events_total{event="consented"} 1`,
		`zhongkong_grant_events_total{event="unconfirmed"} 0`,
	)
}
