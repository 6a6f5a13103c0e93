package main

func holders(e *env, r *record) error { return nil }
func accounts(e *env, r *record) error { return nil }
func first(e *env, r *record) error { return nil }
func show(e *env, r *record) error { return nil }
func serveHTTP(e *env, r *record) error { return nil }
func writePage(string) error { return nil }
