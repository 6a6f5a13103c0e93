package wecomtest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultProvider is the CorpID of the provider of a suite.
const DefaultProvider = "ww00000000provider"

// Suite is a suite of a service provider: a third-party app, or a template of custom
// apps (代开发).
type Suite struct {
	SuiteID string
	Secret  string

	// Provider is the CorpID of the provider, for whom the check of the callback's URL is
	// sealed. "": DefaultProvider.
	Provider string

	// Custom: a template of custom apps. A permanent code of it is the secret of an app of
	// the corp.
	Custom bool

	// Trusted are the addresses from which the suite's own calls may come. Nil: all.
	Trusted []string

	Callback Callback
}

// suite is a Suite with its state. Guarded by Server.mu.
type suite struct {
	Suite
	previousKey string // the AESKey before the current one
	token       *Issue
	tickets     []*Issue  // the oldest first
	nextTicket  time.Time // when the next one is pushed
	preAuth     map[string]time.Time
	codes       map[string]*authCode
	installs    map[string]*install // by CorpID
	pushes      []*push             // that are to be sent
	pushFaults  []PushFault
}

// authCode is an auth_code that is not exchanged yet.
type authCode struct {
	corpID  string
	expires time.Time
}

// install is a corp that has a suite. Guarded by Server.mu.
type install struct {
	corpID    string
	code      string // the permanent code; "": no auth_code was exchanged
	cancelled bool
	since     time.Time // of the last change
	app       *app      // what it is in the corp once the auth_code is exchanged
}

// Install is what a corp has to do with a suite.
type Install struct {
	SuiteID, CorpID string
	PermanentCode   string // "": no auth_code was exchanged yet
	Cancelled       bool
	Since           time.Time // when that became so
}

// AddSuite adds a suite. One of the same SuiteID keeps its tickets and its corps.
func (s *Server) AddSuite(added Suite) error {
	if added.SuiteID == "" || added.Secret == "" {
		return errors.New("wecomtest: a suite needs a SuiteID and a Secret")
	}
	if err := added.Callback.validate(); err != nil {
		return fmt.Errorf("wecomtest: suite %s: %w", added.SuiteID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.suites[added.SuiteID]; known != nil {
		provider := cmp.Or(added.Provider, known.Provider)
		known.Suite, known.Provider = added, provider
		return nil
	}
	s.suites[added.SuiteID] = newSuite(added)
	s.wake()
	return nil
}

func newSuite(added Suite) *suite {
	added.Provider = cmp.Or(added.Provider, DefaultProvider)
	return &suite{
		Suite: added, preAuth: make(map[string]time.Time), codes: make(map[string]*authCode), installs: make(map[string]*install),
	}
}

// changeSuite calls do with a suite while holding the server's lock.
func (s *Server) changeSuite(suiteID string, do func(*suite) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.suites[suiteID]
	if u == nil {
		return fmt.Errorf("wecomtest: no suite %q", suiteID)
	}
	return do(u)
}

// changeInstall is changeSuite with a corp that has the suite.
func (s *Server) changeInstall(suiteID, corpID string, do func(*suite, *install) error) error {
	return s.changeSuite(suiteID, func(u *suite) error {
		in := u.installs[corpID]
		if in == nil || in.cancelled || in.code == "" {
			return fmt.Errorf("wecomtest: corp %q does not have suite %q", corpID, suiteID)
		}
		return do(u, in)
	})
}

// Install lets the administrator of a corp, which is added if it is unknown, install a
// suite: create_auth is pushed. It returns the auth_code. A corp that has the suite
// must cancel it first.
func (s *Server) Install(suiteID, corpID string) (code string, err error) {
	err = s.changeSuite(suiteID, func(u *suite) error {
		if code, err = s.authorise(u, corpID); err != nil {
			return err
		}
		s.enqueue(u, &push{infoType: createAuth, corpID: corpID, value: code})
		return nil
	})
	return code, err
}

// Redirect is Install from the provider's own page, which got a pre_auth_code: the
// auth_code comes with the redirect to that page, and nothing is pushed.
func (s *Server) Redirect(suiteID, corpID, preAuthCode string) (code string, err error) {
	err = s.changeSuite(suiteID, func(u *suite) error {
		expires, known := u.preAuth[preAuthCode]
		delete(u.preAuth, preAuthCode)
		if !known || !s.now().Before(expires) {
			return fmt.Errorf("wecomtest: suite %q: errcode %d: the pre_auth_code is unknown, used or expired", suiteID, codePreAuthExpired)
		}
		code, err = s.authorise(u, corpID)
		return err
	})
	return code, err
}

// authorise returns an auth_code for a corp that does not have the suite. The caller
// holds mu.
func (s *Server) authorise(u *suite, corpID string) (string, error) {
	if in := u.installs[corpID]; in != nil && !in.cancelled && in.code != "" {
		return "", fmt.Errorf("wecomtest: corp %q has suite %q", corpID, u.SuiteID)
	}
	if s.corps[corpID] == nil {
		s.corps[corpID] = &corp{Corp: Corp{CorpID: corpID}, apps: make(map[string]*app)}
	}
	u.installs[corpID] = &install{corpID: corpID, since: s.now()}
	return s.newAuthCode(u, corpID), nil
}

// newAuthCode returns a new auth_code in place of those that the corp has. The caller
// holds mu.
func (s *Server) newAuthCode(u *suite, corpID string) string {
	for code, held := range u.codes {
		if held.corpID == corpID {
			delete(u.codes, code)
		}
	}
	code := s.randomText(authCodeLength)
	u.codes[code] = &authCode{corpID, s.now().Add(s.knobs.AuthCodeTTL)}
	return code
}

// ForgetInstall lets the administrator of a corp remove a suite whose auth_code was not
// exchanged, or never stored. Nothing is pushed.
func (s *Server) ForgetInstall(suiteID, corpID string) {
	_ = s.changeSuite(suiteID, func(u *suite) error {
		if in := u.installs[corpID]; in != nil && in.app != nil {
			delete(in.app.corp.apps, suiteID)
		}
		delete(u.installs, corpID)
		return nil
	})
}

// Change lets the administrator of a corp change what a suite may do there: change_auth
// is pushed.
func (s *Server) Change(suiteID, corpID string) error {
	return s.changeInstall(suiteID, corpID, func(u *suite, _ *install) error {
		s.enqueue(u, &push{infoType: changeAuth, corpID: corpID})
		return nil
	})
}

// Cancel lets the administrator of a corp remove a suite: cancel_auth is pushed. The
// corp's token and its permanent code end at once.
func (s *Server) Cancel(suiteID, corpID string) error {
	return s.cancel(suiteID, corpID, cancelAuth)
}

// CancelAsChange is Cancel of an app for contacts: WeCom pushes change_auth.
func (s *Server) CancelAsChange(suiteID, corpID string) error {
	return s.cancel(suiteID, corpID, changeAuth)
}

func (s *Server) cancel(suiteID, corpID, infoType string) error {
	return s.changeInstall(suiteID, corpID, func(u *suite, in *install) error {
		in.cancelled, in.since = true, s.now()
		s.end(&in.app.token)
		s.end(&in.app.ticket)
		delete(in.app.corp.apps, u.SuiteID)
		s.enqueue(u, &push{infoType: infoType, corpID: corpID})
		return nil
	})
}

// ResetPermanentCode lets the provider ask in its console for a new permanent code of a
// custom app: reset_permanent_code is pushed. The old one ends when the auth_code, which
// is returned, is exchanged.
func (s *Server) ResetPermanentCode(suiteID, corpID string) (code string, err error) {
	err = s.changeInstall(suiteID, corpID, func(u *suite, _ *install) error {
		if !u.Custom {
			return fmt.Errorf("wecomtest: suite %q is no template of custom apps", suiteID)
		}
		code = s.newAuthCode(u, corpID)
		s.enqueue(u, &push{infoType: resetPermanentCode, corpID: corpID, value: code})
		return nil
	})
	return code, err
}

// Installs returns what each corp has to do with a suite, sorted by CorpID.
func (s *Server) Installs(suiteID string) []Install {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.suites[suiteID]
	if u == nil {
		return nil
	}
	var all []Install
	for _, in := range u.installs {
		all = append(all, Install{suiteID, in.corpID, in.code, in.cancelled, in.since})
	}
	slices.SortFunc(all, func(a, b Install) int { return strings.Compare(a.CorpID, b.CorpID) })
	return all
}

// EndSuiteToken ends a suite's token early.
func (s *Server) EndSuiteToken(suiteID string) error {
	return s.changeSuite(suiteID, func(u *suite) error { s.end(&u.token); return nil })
}

// SetSuiteSecret gives a suite another secret.
func (s *Server) SetSuiteSecret(suiteID, secret string) error {
	return s.changeSuite(suiteID, func(u *suite) error {
		u.Secret = secret
		if s.knobs.ResetKills {
			s.end(&u.token)
		}
		return nil
	})
}

// SetSuiteTrusted replaces the addresses from which the suite's own calls may come; nil: all.
func (s *Server) SetSuiteTrusted(suiteID string, addresses []string) error {
	return s.changeSuite(suiteID, func(u *suite) error { u.Trusted = slices.Clone(addresses); return nil })
}
