package datagram

// Outcome is what became of a packet.
type Outcome string

// The outcomes. Only Answered, Forbidden and TooSmall can have sent a packet back.
const (
	Answered  Outcome = "answered"
	Forbidden Outcome = "forbidden"  // the caller may not have that account's token
	TooSmall  Outcome = "too_small"  // the answer is larger than the question
	Malformed Outcome = "garbage"    // not a question
	Unknown   Outcome = "unknown"    // no caller of that name has a key
	Forged    Outcome = "forged"     // the caller's key does not open it
	Stale     Outcome = "stale"      // its time is outside Window, or before this process began
	Replayed  Outcome = "replayed"   // its nonce was used before
	Full      Outcome = "full"       // the caller asks faster than nonces may be forgotten
	Failed    Outcome = "not_sealed" // the answer could not be sealed
)
