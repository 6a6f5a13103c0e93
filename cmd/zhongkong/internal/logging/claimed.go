package logging

import "strings"

// minSecret is how long the shortest secrets of issuers are: an AppSecret has 32 bytes, keys
// and tokens have more.
const minSecret = 32 // bytes

// Claimed returns the name of nobody that is known, which a client has sent, as a line may
// have it: … for what may be a credential in the name's place.
func Claimed(name string) string {
	if len(name) >= minSecret || strings.ContainsAny(name, "~:=") {
		return "…"
	}
	return name
}
