package main

import "context"

// rights is filled in when the store can tell what is missing.
func (x examination) rights(ctx context.Context, mayRefresh bool) {}
