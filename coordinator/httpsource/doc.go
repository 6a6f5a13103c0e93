// Package httpsource gets tokens from issuers that are asked by HTTP.
//
// # A source described by data
//
// An [Issuer] describes what to send to an issuer, where its answer has the token, and
// what its codes mean. [Presets] are descriptions that come with the package:
//
//	source, err := httpsource.Config{
//		Preset:     "feishu_tenant",
//		Parameters: map[string]string{"app_id": id, "app_secret": secret},
//	}.Source()
//
// A preset is a file in the directory presets; package httpsourcetest has a simulator
// for each, and states what goes over the wire.
//
// What an answer is to a coordinator:
//
//	a token  whatever the HTTP status and whatever is around it, because it was issued.
//	         One without the life that it should have is taken to live for 10 minutes
//	a code   what Issuer.Codes says; one that is not there: busy, and with a 5xx unknown
//	a page   what Issuer.Codes says; else unknown
//	nothing  busy with a 3xx or 4xx, later with a 429, else unknown
//
// # Sending
//
// [Client] sends the requests of any source, and decides the question that a source
// must answer when a request fails: may the issuer have seen it? It cannot have if there
// was no connection, or if the server ended it because of the client's certificate.
//
// If it cannot have, the failure is [coordinator.FailedBusy], which settles the
// attempt; if it may have, [coordinator.FailedUnknown], because a token may have
// been issued that no process received. To say FailedBusy wrongly keeps a dead token
// in use until a service reports it.
//
// An [http.Client] does not do for this: it follows redirects, with the secret,
// repeats a GET when a connection it used before is broken, and puts the URL into
// its errors.
//
// [Scrub], [CleanError] and [OneLine] make foreign texts fit for logs.
package httpsource
