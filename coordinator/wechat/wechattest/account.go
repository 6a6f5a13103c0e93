package wechattest

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/zhongkong/zhongkong/coordinator/internal/simulator"
)

// The account of a Config without accounts. The value of its secret is public.
const (
	DefaultAppID  = "wx8acdb7df5beb68fd"
	DefaultSecret = "5a4d3b0cf1d84e6fb2976d1c80e3a94f"
)

// Product is the kind of an account.
type Product string

// The products.
const (
	OfficialAccount Product = "official"
	TestAccount     Product = "test" // 测试号: a tenth of the daily quota
	MiniProgram     Product = "mini"
	MiniGame        Product = "game"
	Platform        Product = "platform" // third-party platform: gets 61024 at the token endpoints
)

// Account is an account of the simulated WeChat.
type Account struct {
	AppID   string
	Secret  string
	Product Product // empty: OfficialAccount

	// Whitelist are the addresses ("1.2.3.4", "10.0.0.0/8") from which tokens
	// may be fetched. Nil: the whitelist is off.
	Whitelist []string

	// DailyToken is the account's own quota of /cgi-bin/token. 0: the knob's.
	DailyToken int
}

// account is an Account with its state. Guarded by Server.mu.
type account struct {
	Account
	whitelist edited
	frozen    bool           // the secret: token calls get 40243
	banned    int            // errcode of all token calls: 50004, 50007 or 48004; 0: none
	risk      map[string]int // errcode of token calls, 89501 to 89507, by address

	classic, stable chain
	tickets         map[Chain]*chain
	usage           usage
}

// edited is a whitelist whose last edit takes effect at a certain time.
type edited struct {
	old, new []netip.Prefix // nil: off
	from     time.Time      // when new replaces old
}

func (e edited) at(now time.Time) []netip.Prefix {
	if now.Before(e.from) {
		return e.old
	}
	return e.new
}

func newAccount(a Account) (*account, error) {
	switch a.Product {
	case "":
		a.Product = OfficialAccount
	case OfficialAccount, TestAccount, MiniProgram, MiniGame, Platform:
	default:
		return nil, fmt.Errorf("wechattest: account %s: unknown product %q", a.AppID, a.Product)
	}
	if a.AppID == "" || a.Secret == "" {
		return nil, fmt.Errorf("wechattest: account %q needs an AppID and a Secret", a.AppID)
	}
	list, err := parseWhitelist(a.Whitelist)
	if err != nil {
		return nil, err
	}
	return &account{
		Account:   a,
		whitelist: edited{new: list},
		risk:      make(map[string]int),
		tickets:   make(map[Chain]*chain),
	}, nil
}

func parseWhitelist(entries []string) ([]netip.Prefix, error) {
	if entries == nil {
		return nil, nil
	}
	list := make([]netip.Prefix, 0, len(entries))
	for _, entry := range entries {
		prefix, err := netip.ParsePrefix(entry)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(entry); err == nil {
				prefix = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil {
			return nil, fmt.Errorf("wechattest: %q is neither an address nor a CIDR range", entry)
		}
		list = append(list, prefix)
	}
	return list, nil
}

func lets(list []netip.Prefix, from string) bool {
	if list == nil {
		return true
	}
	a, err := netip.ParseAddr(from)
	if err != nil {
		return false
	}
	for _, p := range list {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

func (a *account) hasSecret(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(a.Secret), []byte(secret)) == 1
}

func (a *account) chain(c Chain) *chain {
	switch c {
	case ClassicChain:
		return &a.classic
	case StableChain:
		return &a.stable
	}
	if a.tickets[c] == nil {
		a.tickets[c] = new(chain)
	}
	return a.tickets[c]
}

// AddAccount adds an account. An account of the same AppID is replaced with its
// tokens and counters.
func (s *Server) AddAccount(a Account) error {
	added, err := newAccount(a)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[a.AppID] = added
	return nil
}

// change calls do with an account while holding the server's lock.
func (s *Server) change(appID string, do func(*account) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[appID]
	if !ok {
		return simulator.NotFound("wechattest: no account %q", appID)
	}
	return do(a)
}

// SetWhitelist edits an account's whitelist; nil turns it off. It takes effect
// after the knob WhitelistDelay.
func (s *Server) SetWhitelist(appID string, entries []string) error {
	list, err := parseWhitelist(entries)
	if err != nil {
		return err
	}
	return s.change(appID, func(a *account) error {
		now := s.nowLocked()
		a.whitelist = edited{old: a.whitelist.at(now), new: list, from: now.Add(s.knobs.WhitelistDelay)}
		a.Whitelist = entries
		return nil
	})
}

// RotateSecret gives an account a new random secret and returns it. Token calls with
// the old one get 40125; tokens stay valid.
func (s *Server) RotateSecret(appID string) (string, error) {
	var secret string
	err := s.change(appID, func(a *account) error {
		a.Secret = s.randomHex(16)
		secret = a.Secret
		return nil
	})
	return secret, err
}

// SetSecret replaces the secret of an account.
func (s *Server) SetSecret(appID, secret string) error {
	if secret == "" {
		return errors.New("wechattest: the secret is empty")
	}
	return s.change(appID, func(a *account) error { a.Secret = secret; return nil })
}

// Freeze freezes an account's secret: token calls get 40243.
func (s *Server) Freeze(appID string) error {
	return s.change(appID, func(a *account) error { a.frozen = true; return nil })
}

// Unfreeze undoes Freeze.
func (s *Server) Unfreeze(appID string) error {
	return s.change(appID, func(a *account) error { a.frozen = false; return nil })
}

// Ban makes all token calls of an account fail with an errcode (50004, 50007 or
// 48004); 0 undoes it.
func (s *Server) Ban(appID string, errcode int) error {
	return s.change(appID, func(a *account) error { a.banned = errcode; return nil })
}

// SetRisk makes token calls from an address that is not on the whitelist fail with an
// errcode from 89501 to 89507; 0 stands for the administrator's approval.
func (s *Server) SetRisk(appID, address string, errcode int) error {
	if errcode != 0 && (errcode < 89501 || errcode > 89507) {
		return fmt.Errorf("wechattest: %d is no errcode of the risk confirmation (89501 to 89507)", errcode)
	}
	return s.change(appID, func(a *account) error {
		risk := maps.Clone(a.risk)
		risk[address] = errcode
		if errcode == 0 {
			delete(risk, address)
		}
		a.risk = risk
		return nil
	})
}

// KillEarly invalidates an account's current token before it expires, as WeChat
// sometimes does. A ticket stays valid for the knob TicketOverlap, and the next call
// gets another. It returns the token; false means that there was none.
func (s *Server) KillEarly(appID string, c Chain) (Issue, bool) {
	var killed Issue
	var was bool
	_ = s.change(appID, func(a *account) error {
		switch on := s.chainOf(a, c); {
		case on == nil:
		case c.isTicket():
			killed, was = on.retire(s.nowLocked(), s.knobs.TicketOverlap, CauseKilled)
		default:
			killed, was = on.kill(s.nowLocked())
		}
		return nil
	})
	return killed, was
}
