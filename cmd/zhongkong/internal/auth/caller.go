package auth

// Caller is an authenticated user. The zero Caller has no rights.
type Caller struct {
	user     *user
	password *password // the one that it gave; nil: it was found without one
}

// Name returns the user's name, "" for the zero Caller.
func (c Caller) Name() string { return c.get().name }

// May reports whether the caller may have the account's token.
func (c Caller) May(account string) bool {
	u := c.get()
	_, ok := u.accounts[account]
	return ok || u.all
}

// MayRefresh reports whether the caller may force a refresh of the account.
func (c Caller) MayRefresh(account string) bool { return c.May(account) && c.user.refresh }

// MayGrant reports whether the caller may put in the account's grant.
func (c Caller) MayGrant(account string) bool { return c.May(account) && c.user.grant }

// Told returns the bounds of the lifetime that the caller is told.
func (c Caller) Told() Told { return c.get().told }

// Phantom reports whether the caller gets phantoms in place of tokens.
func (c Caller) Phantom() bool { return c.get().phantom }

// Verifier returns a digest of the password that the caller gave, as it was
// configured: it is the same in all processes with the same configuration. It must
// not be shown or modified. Nil for a caller that gave no password.
func (c Caller) Verifier() []byte {
	if c.password == nil {
		return nil
	}
	return c.password.verifier
}

// Revoked returns a channel that is closed when SetUsers removes the password that
// the caller gave, or removes or changes the user in anything but its passwords: the
// caller's requests and streams have to end then, and it has to authenticate again.
// Other passwords of the user come and go without it. Nil for the zero Caller.
func (c Caller) Revoked() <-chan struct{} {
	if c.password != nil {
		return c.password.revoked
	}
	return c.get().revoked
}

// IsRevoked reports whether Revoked is closed. A handler that has waited checks this
// before it answers.
func (c Caller) IsRevoked() bool {
	select {
	case <-c.Revoked():
		return true
	default:
		return false
	}
}

// noUser is the user of the zero Caller.
var noUser = &user{}

func (c Caller) get() *user {
	if c.user == nil {
		return noUser
	}
	return c.user
}
