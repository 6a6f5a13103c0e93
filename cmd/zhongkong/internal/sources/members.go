package sources

import (
	"slices"

	"github.com/zhongkong/zhongkong/coordinator/wechat/msgcrypt"
)

// Members is what a kind has whose accounts others live on, which appear by themselves.
type Members struct {
	// Kind returns the kind of the others.
	Kind func(v Values) string

	// Named reports whether a member, or a ticket of one, may have this name.
	Named func(v Values, name string) bool

	// Name returns the name of the member of an authorizer, or a corp, with this id.
	Name func(v Values, id string) string

	// Fields are those of a member with this name.
	Fields func(v Values, name string) map[string]string

	// Is reports whether a name in the list of those that live on the account is that of
	// an account; nil: all are.
	Is func(name string) bool
}

// Listed returns the members of an account among the names that live on its grant.
func (m *Members) Listed(names []string) []string {
	if m.Is == nil {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !m.Is(name) })
}

// pushedFields are the fields of accounts to which an issuer pushes, and which have
// members.
func pushedFields() []Field {
	return []Field{
		{Key: "callback_token", Usage: "the Token of the callback URL, in the issuer's console", Form: Secret, Required: true},
		{Key: "encoding_aes_key", Usage: "its EncodingAESKey", Form: Secret, Required: true},
		{Key: "previous_encoding_aes_key", Usage: "the EncodingAESKey before the last change", Form: Secret},
		{Key: authorizersField, Usage: `the authorizers, or corps, that get an account: their ids, or "*" for all (default)`, Form: NamesOrAll},
	}
}

const authorizersField = "authorizers"

// Authorizers returns the ids that get an account; nil: all.
func Authorizers(v Values) []string {
	ids := v.List[authorizersField]
	if slices.Contains(ids, "*") {
		return nil
	}
	return ids
}

// checkCallback reports what is wrong with the keys of a callback URL.
func checkCallback(v Values, receiver string) error {
	_, err := msgcrypt.Config{
		Token: v.Text["callback_token"], EncodingAESKey: v.Text["encoding_aes_key"], PreviousKey: v.Text["previous_encoding_aes_key"],
		Receivers: []string{receiver},
	}.Codec()
	return err
}
