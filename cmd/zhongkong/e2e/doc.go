// Package e2e holds no code but end-to-end tests: what several real processes of
// zhongkong do on a real Redis, as an operator would see it.
package e2e
