package main

import (
	"context"
	"fmt"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func (x checks) unsealFix(ctx context.Context) (fix string) {
	refresh := "replace the token: zhongkong refresh " + x.account
	sealed, err := redisadmin.New(x.store).Sealed(ctx, x.account)
	kid := seal.Kid(sealed)
	switch {
	case err != nil:
		return "give all processes the same seal keys"
	case sealed == "":
		return "while the fleet is switched to sealing, run every process with --seal prefer; or " + refresh
	case kid == "":
		return "find the program that writes to Redis; then " + refresh
	case x.keys == nil:
		return fmt.Sprintf("give this process the file that has the key %q: --seal-key-file", kid)
	case !x.keys.Has(kid):
		return fmt.Sprintf("copy the line of the key %q from the seal key file of the process that wrote the token to the bottom of %s; or %s",
			kid, x.cfg.SealKeyFile, refresh)
	}
	return fmt.Sprintf("compare the line of the key %q in the seal key files of all processes; or %s", kid, refresh)
}

// sealing says how the token is stored: each step of a change of the keys, or of the
// seal mode, waits for that.
func (x checks) sealing(ctx context.Context, state coordinator.State) {
	if x.keys == nil || !state.Record.Usable() {
		return
	}
	sealed, err := redisadmin.New(x.store).Sealed(ctx, x.account)
	refresh := "the next refresh does that; to do it now: zhongkong refresh " + x.account
	switch kid := seal.Kid(sealed); {
	case err != nil:
		x.warn("sealing", "", "unknown: %v", err)
	case x.cfg.Seal == config.SealAllow && sealed != "":
		x.warn("sealing", "keep the key until it is stored in plain text; "+refresh, "the token is sealed with %q; this process %s", kid, x.sealWords())
	case x.cfg.Seal != config.SealAllow && sealed == "":
		x.warn("sealing", "keep seal: prefer until it is sealed; "+refresh, "the token is stored in plain text; this process %s", x.sealWords())
	case sealed != "" && kid != x.keys.First():
		x.warn("sealing", "keep that key until the token is sealed with the first one; "+refresh, "the token is sealed with %q; this process %s", kid, x.sealWords())
	case sealed == "":
		x.ok("sealing", "the token is stored in plain text, as this process writes it; it %s", x.sealWords())
	default:
		x.ok("sealing", "the token is sealed with %q; this process %s", kid, x.sealWords())
	}
}
