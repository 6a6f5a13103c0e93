package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/sources"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/oauth"
)

func (p program) loginCommand() *cli.Command {
	return &cli.Command{
		Name:      "login",
		Usage:     "ask a person to log in, for an account that lives on her refresh token",
		ArgsUsage: "[NAME]",
		Description: `For an account with source oauth2 and grant refresh_token: prints an address to open in a
browser on this machine. When the person has consented there, the browser comes back to
a port of 127.0.0.1, and the refresh token is stored in Redis, sealed, in place of the
one before. Every process with the account's secret goes on with it at once.

On a machine without a browser:

   zhongkong login --device NAME    prints a code to enter on any other device, if the
                                    issuer can do that

or set redirect: http://127.0.0.1:7777/callback for the account, and forward that port:
ssh -L 7777:127.0.0.1:7777. With another address in redirect:, where the issuer sends the
browser to in the end, login asks for the URL that the browser shows there.`,
		Flags: []cli.Flag{
			newSwitchFlag("device", "log in on another device, by a code"),
			newValueFlag("wait", "D", "10m", "how long to wait for the person"),
		},
		Action: p.login,
	}
}

func (p program) login(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("login takes one NAME")
	}
	s, err := p.session(c)
	if err != nil {
		return err
	}
	defer s.close()
	account, err := s.grantAccount(c.Context, c.Args().Slice())
	if err != nil {
		return err
	}
	l, redirect, err := loginOf(account)
	if err != nil {
		return err
	}
	a, err := s.storing(c.Context, account.Name)
	if err != nil {
		return err
	}
	ctx, cancel, err := waiting(c)
	if err != nil {
		return err
	}
	defer cancel()
	var consent coordinator.Consent
	redeemed := s.sayRedeeming(ctx)
	if c.Bool("device") {
		consent, err = s.loginByDevice(ctx, l)
	} else {
		consent, err = s.loginByCode(ctx, l, redirect)
	}
	redeemed()
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil: // not a request to the issuer
		return fmt.Errorf("nobody has logged in within %s: try again, with a longer --wait", c.String("wait"))
	case denied(err):
		return fmt.Errorf("account %q: the person, or the issuer for her, has denied it: %w", account.Name, err)
	case err != nil:
		return fmt.Errorf("account %q: %w", account.Name, err)
	}
	return s.consent(c.Context, a, consent) // without --wait: it must not be lost because the person took long
}

// sayRedeeming says what login waits for if it goes on for a moment after ctx has ended, until
// redeemed is called: a code works once, so a request that redeems it is finished.
func (p program) sayRedeeming(ctx context.Context) (redeemed func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { // ends with done
		select {
		case <-time.After(drainMoment):
			fmt.Fprintln(p.stderr, "zhongkong: waiting for the issuer to answer with the grant; a second interrupt ends this at once and may lose it")
		case <-done:
		}
	})
	return func() { stop(); close(done) }
}

// denied reports whether the answer to the question is no (RFC 6749, section 4.1.2.1, and
// RFC 8628, section 3.5).
func denied(err error) bool {
	said, ok := errors.AsType[*oauth.Error](err)
	return ok && said.Code == "access_denied"
}

// loginOf returns how a person logs in for an account, and the redirect address.
func loginOf(a config.Account) (*oauth.Login, string, error) {
	if a.Source != sources.OAuth2 {
		return nil, "", usagef("account %q has source %s: only one with source %s has a login", a.Name, a.Source, sources.OAuth2)
	}
	cfg, err := sources.OAuth2Config(a.Values())
	if err != nil {
		return nil, "", &configError{fmt.Errorf("account %q: %w", a.Name, err)}
	}
	l, err := cfg.Login()
	if err != nil {
		return nil, "", &configError{fmt.Errorf("account %q: %w", a.Name, err)}
	}
	return l, cfg.RedirectURL, nil
}

// loginByDevice asks the person on another device.
func (s *session) loginByDevice(ctx context.Context, l *oauth.Login) (coordinator.Consent, error) {
	return l.Device(ctx, func(q oauth.DeviceQuestion) {
		fmt.Fprintf(s.stderr, "Open this address on any device, and enter the code %s:\n\n   %s\n\n", escape(q.UserCode), escape(q.URL))
		if q.Complete != "" && q.Complete != q.URL {
			fmt.Fprintf(s.stderr, "or this one, which has the code in it:\n\n   %s\n\n", escape(q.Complete))
		}
	})
}

// loginByCode asks the person in a browser.
func (s *session) loginByCode(ctx context.Context, l *oauth.Login, redirect string) (coordinator.Consent, error) {
	to := loopbackRedirect(redirect)
	if to == nil {
		return s.loginByTyping(ctx, l, redirect)
	}
	receiver, err := listenForCode(to)
	if err != nil {
		return coordinator.Consent{}, err
	}
	defer receiver.close()
	request, err := l.Code(receiver.address)
	if err != nil {
		return coordinator.Consent{}, &configError{err}
	}
	fmt.Fprintf(s.stderr, "Open this address in a browser on this machine, and log in:\n\n   %s\n\n", escape(request.URL))
	return receiver.redeem(ctx, request)
}

// loginByTyping asks the person for the URL to which the issuer has sent the browser.
func (s *session) loginByTyping(ctx context.Context, l *oauth.Login, redirect string) (coordinator.Consent, error) {
	request, err := l.Code(redirect)
	if err != nil {
		return coordinator.Consent{}, &configError{err}
	}
	fmt.Fprintf(s.stderr, "Open this address in a browser, and log in:\n\n   %s\n\n"+
		"Then the browser goes to %s, and it does not matter what it shows there.\nCopy the URL from its address bar, and paste it here: ", escape(request.URL), escape(redirect))
	line, err := s.readLine(ctx)
	if err != nil {
		return coordinator.Consent{}, err
	}
	answer, err := url.Parse(strings.TrimSpace(line))
	if err != nil || !answer.Query().Has("state") {
		return coordinator.Consent{}, usagef("that is not the URL: it has no state= in it")
	}
	consent, err := request.Redeem(ctx, answer.Query())
	if errors.Is(err, oauth.ErrForeignAnswer) {
		return consent, errors.New("that is the URL of another login: each one works only once")
	}
	return consent, err
}
