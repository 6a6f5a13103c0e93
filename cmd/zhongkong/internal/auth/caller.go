package auth

// Caller is an authenticated user. The zero Caller has no rights.
type Caller struct{ user *user }

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

// Revoked returns a channel that is closed when SetUsers removes or changes the
// user: the caller's requests and streams have to end then, and it has to
// authenticate again. Nil for the zero Caller.
func (c Caller) Revoked() <-chan struct{} {
	if c.user == nil {
		return nil
	}
	return c.user.revoked
}
