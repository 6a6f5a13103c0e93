package wire

import "testing"

func TestATokenMayHaveGraphicCharactersOnly(t *testing.T) {
	for token, fine := range map[string]bool{
		"90_Zm9v.~+/=": true, "令牌": true, "a b": true,
		"a\nb": false, "a\x1bb": false, "a\u202eb": false, "a\xffb": false,
	} {
		if err := (Token{AccessToken: token}).Check(); (err == nil) != fine {
			t.Errorf("%q: %v", token, err)
		}
	}
}
