package logging

// Kind is the form of an attribute's values.
type Kind string

// The kinds. A number has its unit in the attribute's name: seconds end in _seconds, sizes
// in _bytes, and other numbers in nothing.
const (
	Text    Kind = "text"
	Number  Kind = "number"
	Truth   Kind = "true or false"
	Time    Kind = "time" // RFC 3339
	Seconds Kind = "seconds"
	Bytes   Kind = "bytes"
)

// Attribute is a name that log lines use. It has one meaning in all of them.
type Attribute struct {
	Name    string
	Kind    Kind
	Meaning string
}

// Attributes returns all names that lines of the log may use, in the order of the page
// observability.md, which lists them. A test holds every line of the program against it.
func Attributes() []Attribute {
	return append(append(requestAttributes(), accountAttributes()...), processAttributes()...)
}

func requestAttributes() []Attribute {
	return []Attribute{
		{"request_id", Text, "the request that caused the line, as its answer has it in `X-Request-Id`"},
		{"caller", Text, "name of the caller; `(token)` on a route: only a token proved it; `…`: a name that no caller has and that may be a secret"},
		{"from", Text, "address and port of the client's connection"},
		{"to", Text, "address that a datagram could not be sent to"},
		{"method", Text, "HTTP method"},
		{"path", Text, "path that was asked for, without the query and without what may be a credential"},
		{"endpoint", Text, "endpoint as in the HTTP reference, such as `/v1/tokens/{name}`; `other` for an unknown path"},
		{"route", Text, "name of the route; `/` for calls with the AppSecret at the server's root"},
		{"status", Number, "HTTP status of the answer; 499: the client went away first"},
		{"body_bytes", Bytes, "size of the answer's body"},
		{"how", Text, "by what a refresh was asked for: `api`, `page`, `drop-in`, `asked again`"},
		{"outcome", Text, "what became of it: the code of the answer's error, or words"},
		{"ended", Text, "how a call of a route ended: `whole`, `revoked`, `gone`, `unanswered`, `upstream_cut`"},
		{"renewed", Truth, "whether another token replaced the one that an upstream rejected"},
		{"why", Text, "reason of a refusal, or of a failed request"},
		{"lines", Number, "lines like this that were left out"},
		{"within_seconds", Seconds, "time in which that happens, or happened"},
		{"without_caller", Number, "connections closed on which no caller had authenticated"},
		{"idle_of_callers", Number, "idle connections of callers that were closed"},
		{"open_without_caller", Number, "open connections on which no caller has authenticated"},
		{"open_of_callers", Number, "open connections of callers"},
		{"closed", Number, "connections closed"},
	}
}

func accountAttributes() []Attribute {
	return []Attribute{
		{"account", Text, "name of the account"},
		{"accounts", Text, "names of accounts"},
		{"reason", Text, "why it is refreshed: `schedule`, `missing`, `forced`, `rejected`, …"},
		{"asked_by", Text, "caller who demanded the refresh, and how"},
		{"generation", Number, "generation of the token"},
		{"fence", Number, "number of the attempt; the generation of a token that it brings"},
		{"ttl_seconds", Seconds, "how long the token is served"},
		{"life_seconds", Seconds, "life that the issuer gave the token"},
		{"age_seconds", Seconds, "since the token was issued"},
		{"took_seconds", Seconds, "how long the issuer, the upstream or the answer took"},
		{"retry_in_seconds", Seconds, "until the next try"},
		{"calls_today", Number, "calls to the issuer today, of all processes"},
		{"failures", Number, "failed calls since the last success"},
		{"kind", Text, "kind of failure: `unknown`, `busy`, `later`, `parent`, `refused`"},
		{"code", Text, "the issuer's error code"},
		{"limit", Text, "limit that forbids a refresh now"},
		{"odd", Text, "what is odd about an issuer's answer"},
		{"error", Text, "what failed"},
		{"grant_version", Number, "version of the grant"},
		{"stored_grant_version", Number, "version of the grant that the store had"},
		{"last_resort", Truth, "whether a refresh token is presented although it may be used up"},
		{"ends_at", Time, "when the grant ends"},
		{"tried_again_at", Time, "when the refresh token is tried again"},
		{"in_spool", Truth, "whether the new refresh token is on this machine's disk"},
		{"authorizer", Text, "AppID of an account that authorizes the platform"},
		{"authorized", Truth, "whether it still does"},
		{"event", Text, "kind of a push"},
		{"created_at", Time, "when the issuer made the event"},
		{"last_push_at", Time, "when the last verify ticket came"},
		{"corp", Text, "CorpID of a corp that has the suite"},
		{"member", Text, "account of that corp"},
	}
}

func processAttributes() []Attribute {
	return []Attribute{
		{"version", Text, "version of the program"},
		{"commit", Text, "commit that it was built of"},
		{"commit_date", Text, "time of that commit"},
		{"url", Text, "address at which something is answered"},
		{"address", Text, "address and port of a listener"},
		{"redis", Text, "address of Redis, without the password"},
		{"prefix", Text, "prefix of the keys in Redis"},
		{"embedded_redis", Truth, "whether Redis runs inside this process"},
		{"sandbox", Truth, "whether the simulator issues all tokens"},
		{"followed", Number, "accounts whose notifications arrive"},
		{"since", Time, "since when that is so"},
		{"missed_seconds", Seconds, "how long the machine slept, or by how much its clock was set ahead"},
		{"store_clock", Time, "time of the Redis server"},
		{"op", Text, "operation on Redis"},
		{"replicas", Number, "replicas that have to confirm a write"},
		{"waited_seconds", Seconds, "how long they were waited for"},
		{"channel", Text, "channel of a notification"},
		{"so_far", Number, "how many since the start"},
		{"key", Text, "key in Redis"},
		{"server", Text, "address of a Redis server"},
		{"file", Text, "path of a file"},
		{"files", Number, "files of `files:` that are written"},
		{"mode", Text, "mode of the file"},
		{"valid_until", Time, "end of a certificate"},
		{"accounts_added", Number, "accounts that the new configuration has added"},
		{"accounts_changed", Number, "accounts that it has changed"},
		{"accounts_removed", Number, "accounts that it has removed"},
		{"users_added", Number, "callers that it has added"},
		{"users_changed", Number, "callers that it has changed"},
		{"users_removed", Number, "callers that it has removed"},
		{"settings", Text, "settings that take effect at the next start"},
		{"changed", Truth, "whether the secret is another one"},
		{"state", Text, "state that the service manager could not be told"},
		{"delay_seconds", Seconds, "how long the port stays open"},
	}
}
