package auth

// Caller is an authenticated user. The zero Caller has no rights.
type Caller struct {
	user     *user
	password *password // the one that it gave; nil: it was found without one
}

// Name returns the user's name, "" for the zero Caller.
func (c Caller) Name() string {
	if c.user == nil {
		return ""
	}
	return c.user.name
}

// May reports whether the caller may have the account's token.
func (c Caller) May(account string) bool {
	if c.user == nil {
		return false
	}
	_, ok := c.user.accounts[account]
	return ok || c.user.all
}

// MayRefresh reports whether the caller may force a refresh of the account.
func (c Caller) MayRefresh(account string) bool {
	return c.May(account) && c.user.refresh
}

// Told returns the bounds of the lifetime that the caller is told.
func (c Caller) Told() Told {
	if c.user == nil {
		return Told{}
	}
	return c.user.told
}

// Phantom reports whether the caller gets phantoms in place of tokens.
func (c Caller) Phantom() bool { return c.user != nil && c.user.phantom }

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
	switch {
	case c.password != nil:
		return c.password.revoked
	case c.user != nil:
		return c.user.revoked
	}
	return nil
}
