package wecom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/internal/source"
	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// SuiteConfig describes a Suite.
type SuiteConfig struct {
	SuiteID string
	CorpID  string // of the provider; WeCom may address events to it. "": not known

	// Token, EncodingAESKey and PreviousKey are those of the callback URL, as in
	// msgcrypt.Config.
	Token          string
	EncodingAESKey string
	PreviousKey    string

	// Account is the suite's: its Source is of the kind SuiteToken.
	Account *coordinator.Account

	// Coordinator has Account, Grants is its store, Spool and Copy are its own (nil: there
	// is none). It must Run while the suite does: without it Account has no token, and each
	// auth_code ends after 10 minutes without having been exchanged.
	Coordinator *coordinator.Coordinator
	Grants      coordinator.GrantStore
	Spool       coordinator.GrantSpool
	Copy        coordinator.GrantCopy

	// Add adds the account of a corp, or gives the one that is there the source, and Remove
	// removes one. parent is Account's name, or "" if the source needs no parent. They are
	// called by Run only, for one account at a time. Nil: they add to Coordinator, or
	// configure what is there, without RefreshEvery and Limits, and remove from it.
	Add    func(name string, source coordinator.Source, parent string) (*coordinator.Account, error)
	Remove func(name string) error

	// Following are the accounts of corps that are there already. Run calls Add for those
	// that stay, and Remove for the others.
	Following []string

	// Corps are the corps that get accounts, by CorpID. Nil: all that install the suite. The
	// permanent codes of the others are stored all the same.
	Corps []string

	// BaseURL, Transport, ConnectTimeout and Timeout are as in Config.
	BaseURL        string
	Transport      http.RoundTripper
	ConnectTimeout time.Duration
	Timeout        time.Duration

	Logger *slog.Logger // nil: nothing is logged
}

// Format prints the configuration without its secrets, whatever the verb.
func (c SuiteConfig) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wecom.SuiteConfig{%s}", c.SuiteID)
}

// Suite takes what WeCom pushes to a suite's callback URL, and keeps an account for each
// corp that has the suite. Every process of a fleet has one. It is safe for concurrent
// use.
type Suite struct {
	config  SuiteConfig
	prefix  string // of the names of its corps' accounts
	codec   *msgcrypt.Codec
	service service
	log     *slog.Logger
	woken   chan struct{} // has room for one: Run is to look at the members

	mu       sync.Mutex            // guards what follows
	unstored *coordinator.Received // a suite_ticket that the store could not take yet; nil: none
	codes    map[string]pushedCode // the auth_codes that the store could not take when they came
	pause    time.Time             // no auth_code is exchanged before
	doubted  map[string]bool       // accounts whose corps may have removed the suite
	rests    map[string]time.Time  // until when there is nothing to do about a pending grant, by name

	followed  map[string]*coordinator.Account // the corps' accounts, by name. Run's alone
	refused   map[string]string               // why one cannot be added, which was logged. Run's alone
	refreshes sync.WaitGroup                  // that Run has started
}

// NewSuite returns the suite that c describes. It makes no call and starts nothing.
func NewSuite(c SuiteConfig) (*Suite, error) {
	fail := func(err error) (*Suite, error) { return nil, fmt.Errorf("wecom: suite %s: %w", c.SuiteID, err) }
	switch {
	case c.SuiteID == "":
		return fail(errors.New("suite_id: missing"))
	case c.Account == nil || c.Coordinator == nil || c.Grants == nil:
		return fail(errors.New("one of Account, Coordinator and Grants is missing"))
	}
	if c.Add == nil {
		c.Add = source.AddTo(c.Coordinator)
	}
	if c.Remove == nil {
		c.Remove = c.Coordinator.Remove
	}
	receivers := []string{c.SuiteID}
	if c.CorpID != "" {
		receivers = append(receivers, c.CorpID)
	}
	codec, err := msgcrypt.Config{Token: c.Token, EncodingAESKey: c.EncodingAESKey, PreviousKey: c.PreviousKey, Receivers: receivers}.Codec()
	if err != nil {
		return fail(err)
	}
	service, err := Config{BaseURL: c.BaseURL, Transport: c.Transport, ConnectTimeout: c.ConnectTimeout, Timeout: c.Timeout}.service()
	if err != nil {
		return fail(err)
	}
	s := &Suite{
		config: c, prefix: c.SuiteID + ".", codec: codec, service: service, woken: make(chan struct{}, 1),
		log:   cmp.Or(c.Logger, slog.New(slog.DiscardHandler)).With("account", c.Account.Name()),
		codes: map[string]pushedCode{}, doubted: map[string]bool{}, rests: map[string]time.Time{}, followed: map[string]*coordinator.Account{}, refused: map[string]string{},
	}
	for _, name := range c.Following {
		s.followed[name] = nil
	}
	return s, nil
}

// Format prints the suite without its secrets, whatever the verb.
func (s *Suite) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "wecom.Suite(%s)", s.config.SuiteID)
}

// IsCustom reports whether a suite is a template of custom apps (代开发), whose permanent
// codes are secrets of apps.
func IsCustom(suiteID string) bool { return strings.HasPrefix(suiteID, customPrefix) }

// customPrefix begins the ids of templates of custom apps.
const customPrefix = "dk"

// AccountName returns the name of a corp's account: SUITEID.CORPID.
func (s *Suite) AccountName(corpID string) string { return s.prefix + corpID }

// corpOf is the reverse of AccountName; ok is false for the name of another account, and
// for that of an auth_code.
func (s *Suite) corpOf(account string) (corpID string, ok bool) {
	corpID, ok = strings.CutPrefix(account, s.prefix)
	return corpID, ok && !strings.HasPrefix(corpID, pendingMark)
}

// source returns the source of a corp's account, and its parent.
func (s *Suite) source(corpID string) (source *Source, parent string, err error) {
	c := s.config
	kind, parent := SuiteCorp, c.Account.Name()
	if IsCustom(s.config.SuiteID) {
		kind, parent = CustomApp, ""
	}
	source, err = Config{
		Kind: kind, CorpID: corpID, BaseURL: c.BaseURL, Transport: c.Transport, ConnectTimeout: c.ConnectTimeout, Timeout: c.Timeout,
	}.Source()
	return source, parent, err
}

const (
	// syncEvery is how often each process looks which corps there are.
	syncEvery = 15 * time.Second

	// settleEvery is syncEvery while there is an auth_code to be exchanged.
	settleEvery = time.Second

	// readSpoolEvery is how often the spool is searched for what processes have left that
	// ended.
	readSpoolEvery = time.Minute

	// exchanges is how many auth_codes are exchanged at once.
	exchanges = 8
)

// Run keeps an account for each corp that has the suite, and exchanges auth_codes for
// permanent codes, until ctx ends. An exchange that is under way is finished first, and
// its permanent code stored, which takes 15 seconds at most. The accounts stay.
func (s *Suite) Run(ctx context.Context) {
	defer s.refreshes.Wait()
	var spoolRead time.Time
	restored := false
	for ctx.Err() == nil {
		if time.Since(spoolRead) >= readSpoolEvery {
			s.readSpool(ctx)
			spoolRead = time.Now()
		}
		if !restored {
			restored = s.restoreMembers(ctx)
		}
		s.storeTicket(ctx)
		s.storeCodes(ctx)
		wait := syncEvery
		if unsettled := s.sync(ctx); unsettled {
			wait = settleEvery
		}
		select {
		case <-ctx.Done():
		case <-s.woken:
		case <-time.After(wait):
		}
	}
}

func (s *Suite) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// transition returns the next version of a grant, or false if there is nothing to change.
type transition = func(g coordinator.Grant, now time.Time) (_ coordinator.Grant, changed bool)

// changeCode makes a transition of the grant of a corp's account, changePending one of an
// auth_code.
func (s *Suite) changeCode(ctx context.Context, account string, t transition) error {
	return s.config.Coordinator.ChangeGrant(ctx, account, permanentRules(), t)
}

func (s *Suite) changePending(ctx context.Context, name string, t transition) error {
	return s.config.Coordinator.ChangeGrant(ctx, name, pendingRules(), t)
}

// permanentRules are those of permanent codes, pendingRules those of auth_codes, which
// are good for one exchange.
func permanentRules() coordinator.GrantRules { return SuiteCorp.endpoint().grant }

func pendingRules() coordinator.GrantRules {
	return coordinator.GrantRules{Needed: true, Replay: coordinator.ReplayNever}
}

// newest returns the newest token of a grant; the zero GrantToken if there is none.
func newest(g coordinator.Grant) coordinator.GrantToken {
	if len(g.Tokens) == 0 {
		return coordinator.GrantToken{}
	}
	return g.Tokens[len(g.Tokens)-1]
}

// consented returns g with a new permanent code, or with none. at is WeCom's time of the
// event, or zero if there was none: events come in any order, and changed is false if g is
// of a later one. Of two events of the same second the code stays: whether it is good,
// WeCom says.
func consented(g coordinator.Grant, code coordinator.Token, at, now time.Time) (_ coordinator.Grant, changed bool) {
	held, since := newest(g), g.ConsentedAt
	at = coordinator.CredibleTime(at, now)
	switch {
	case !at.IsZero() && at.Before(since), code.IsZero() && !at.After(since):
		return g, false
	case !code.IsZero() && held.Token.Equal(code) && !held.Refused:
		return g, false
	}
	g = g.Consented(coordinator.Consent{Token: code}, now)
	if at.After(since) {
		g.ConsentedAt = at
	}
	return g, true
}
