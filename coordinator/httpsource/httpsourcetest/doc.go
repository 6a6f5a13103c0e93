// Package httpsourcetest plays issuers of tokens that are not WeChat's: one simulator
// for all presets of package httpsource.
//
// A [Wire] states what the issuer's documentation says goes over the wire, as text.
// It is not derived from a preset, so that a wrong preset is noticed: a request that
// differs from the Wire in anything but a credential is a complaint, and answered with
// HTTP status 400. [Wires] has one for each preset.
package httpsourcetest
