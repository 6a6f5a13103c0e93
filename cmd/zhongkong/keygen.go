package main

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func (p program) keygenCommand() *cli.Command {
	return &cli.Command{
		Name:  "keygen",
		Usage: "print a new key for sealing (encrypting) tokens in Redis",
		Description: `   (umask 077; zhongkong keygen > seal.keys)
   zhongkong serve --seal-key-file seal.keys

Every process needs the same file. The key in its first line encrypts, all keys
decrypt. Each process reads the file again when it changes, and its log says which
keys it uses.

To rotate a key, take each step on all machines before the next one:

   1. add a new line at the bottom: now every process can open what it seals
   2. move that line to the top: now it seals
   3. when each account has been refreshed since, and doctor names nothing that needs
      the old key any more, remove the old line

A new line that goes to the top at once seals tokens that processes without it
cannot open.

To switch a running fleet to sealing, restart its processes one by one, again with
each step on all machines before the next one:

   1. with the key file and --seal allow: reads sealed tokens, writes plain ones
   2. with --seal prefer: writes sealed tokens, still reads plain ones
   3. when each account has been refreshed since: without --seal

To switch sealing off, take the steps backwards: --seal prefer, --seal allow, and when
each account has been refreshed since, no key file. doctor says how each account's
token is sealed.

The part after the colon can also be used as a user's udp_key.`,
		Action: p.keygen,
	}
}

func (p program) keygen(c *cli.Context) error {
	_, err := fmt.Fprintln(p.stdout, seal.NewLine(time.Now()))
	return err
}
