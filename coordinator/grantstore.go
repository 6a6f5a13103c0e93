package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// GrantStore is what a Store is besides whose accounts may have grants. It knows no
// rules but the order of versions: those of a grant are Grant's transitions.
//
// Grants are durable: a method that has returned nil has written what it says to
// disk, and to as many replicas as the store is told to ask, and nothing but DropGrant
// removes it. One that has returned ErrUnconfirmed has written it, perhaps not durably, and
// can be repeated.
// They are sealed, and no notification, log or reader's key holds one; the
// GrantSummary is what readers see.
type GrantStore interface {
	// LoadGrant returns the account's grant, with the store's clock. The zero Grant:
	// there is none.
	LoadGrant(ctx context.Context, account string) (GrantReading, error)

	// SaveGrant stores g in place of the version before it, and s with it as
	// State.Grant, lifts State.Fence to s.Newest and s.Consent unless s.Received, and
	// publishes EventGrant with s. No attempt is behind a token that was pushed: its fence
	// would make an attempt under way a superseded one, and keep Store.Restore from putting
	// a lost token back. If g itself is stored (see Grant.Same) it only has it confirmed, so
	// it is safe to repeat.
	//
	// Errors: an *UnsettledError, while GrantReading.SettledIn is above 0, unless
	// s.Consent is above that of the stored record; ErrGrantChanged, another version is
	// stored than g.Version - 1, or one whose SaveID does not begin with g.Predecessor()
	// (after a failover two versions can have one number), or one of a later consent;
	// ErrUnconfirmed.
	SaveGrant(ctx context.Context, account string, g Grant, s GrantSummary) error

	// RestoreGrant puts back g, which was stored before, if the store has an older
	// record (see Grant.Older) or none; otherwise it changes nothing and returns nil.
	// It stores and publishes as SaveGrant does, at any time, and is as safe to repeat.
	RestoreGrant(ctx context.Context, account string, g Grant, s GrantSummary) error

	// DropGrant removes g, of a name that is no account any more, if it is what is stored
	// (see Grant.Same); otherwise it changes nothing and returns nil, also if it was
	// removed before and that is perhaps not durable. No process of an
	// account's may remember the record, or it is put back.
	DropGrant(ctx context.Context, account string, g Grant) error

	// GrantMembers returns the accounts that live on this one's grant, in any order: the
	// authorizers of a platform. SetGrantMember adds or removes one; it is safe to repeat.
	GrantMembers(ctx context.Context, account string) ([]string, error)
	SetGrantMember(ctx context.Context, account, member string, present bool) error
}

// GrantReading is a grant as it was read.
type GrantReading struct {
	Grant Grant
	Now   time.Time // of the store's clock

	// SettledIn is above 0 while the store may have lost its newest writes: for
	// GrantSettle from when the account's grant is first asked for on a server that is not
	// the one that stored it last, or was restarted since, or has no record, also after
	// DropGrant. Those who remember a newer record put it back meanwhile. It is never above
	// GrantSettle: if the clock is set back to before that moment, it begins anew. A save of
	// a newer consent ends it, because no record that was lost can be newer, unless the
	// consent is more than 5 s older than that moment: it is repeated then, and what was lost
	// may have been made of it.
	SettledIn time.Duration
}

// GrantSettle is how long a store waits for newer records after its server has
// changed. A refresher reads within a fraction of it.
const GrantSettle = 30 * time.Second

// Errors of a GrantStore.
var (
	ErrGrantChanged = errors.New("another process has changed the grant")
	ErrUnconfirmed  = errors.New("the store has not confirmed that the grant is durable")
	ErrNoGrants     = errors.New("the store keeps no grants")
)

// ErrNotCopied is in an error of [Coordinator.ChangeGrant], [Account.Consent] and
// [Account.Receive] if the store has confirmed the grant, so that every process lives on
// it, and the Copy does not have it. To repeat the call puts it there.
var ErrNotCopied = errors.New("the grant is stored and in use, and the copy of it could not be made")

// UnsettledError says that the store may have lost its newest writes.
type UnsettledError struct{ RetryIn time.Duration }

// Error says when to try again.
func (e *UnsettledError) Error() string {
	return fmt.Sprintf("the store may have lost its newest writes: grants are not used for another %v", e.RetryIn.Round(time.Second))
}

// GrantSpool keeps the answers of this process on its own disk until the store has
// them: written and synced when Write returns. A process that starts keeps what is
// there first, and looks again now and then: answers of other processes that have ended
// may be among them. An implementation seals what it writes. Answers may return what it
// can read together with an error that names the rest.
type GrantSpool interface {
	Write(a GrantAnswer) error
	Remove(account string, fence Fence) error
	Answers() ([]GrantAnswer, error)
}

// GrantCopy keeps a copy of each grant outside of the store. Put stores g unless what
// is there is newer (see Grant.Older), and is durable when it returns nil. Get returns
// the zero Grant if there is none. Accounts may return the names it can read together
// with an error.
type GrantCopy interface {
	Put(ctx context.Context, account string, g Grant) error
	Get(ctx context.Context, account string) (Grant, error)
	Accounts(ctx context.Context) ([]string, error)
}

// grantJSON is a Grant written down: its fields, and the tokens with their secrets.
type grantJSON struct {
	Grant
	Tokens []grantTokenJSON `json:"tokens"`
}

type grantTokenJSON struct {
	GrantToken
	Token string `json:"token"`
}

// EncodeGrant writes g down, secrets included: what it returns is to be sealed.
func EncodeGrant(g Grant) []byte {
	j := grantJSON{Grant: g}
	for _, t := range g.Tokens {
		j.Tokens = append(j.Tokens, grantTokenJSON{t, t.Token.Reveal()})
	}
	b, err := json.Marshal(j)
	if err != nil {
		panic(err) // only for instants beyond the year 9999
	}
	return b
}

// DecodeGrant is the reverse of EncodeGrant. Its error holds nothing of b.
func DecodeGrant(b []byte) (Grant, error) {
	var j grantJSON
	if err := json.Unmarshal(b, &j); err != nil || j.Version == 0 || j.SaveID == "" {
		return Grant{}, errors.New("no process of ours writes such a grant: it is not the JSON of a record with version and save_id")
	}
	for _, t := range j.Tokens {
		t.GrantToken.Token = NewToken(t.Token)
		j.Grant.Tokens = append(j.Grant.Tokens, t.GrantToken)
	}
	return j.Grant, nil
}
