// Package fleet holds no code but tests: what several real processes of
// zhongkong do on a real Redis, as an operator would see it.
package fleet
