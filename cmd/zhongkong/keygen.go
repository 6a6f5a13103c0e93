package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/redisstore/seal"
)

func (p program) keygenCommand() *cli.Command {
	return &cli.Command{
		Name:  "keygen",
		Usage: "print a new key for sealing tokens in Redis",
		Description: `   (umask 077; zhongkong keygen > seal.keys)
   zhongkong serve --seal-key-file seal.keys

Every process needs the same file: the key of its first line seals, all of them
open. It is read again when it changes, and the log says which keys are in use.
To rotate, in this order, each step on every machine before the next one begins:

   1. put a new line at the bottom: now every process can open what it seals
   2. move that line to the top: now it seals
   3. when each account has been refreshed since, take the old line out

A new line that is put on top at once seals tokens that the processes which do
not have it yet cannot open.

A fleet that runs is switched to sealing by restarting its processes one by one,
again each step on every machine before the next one begins:

   1. with the key file and --seal allow: it reads sealed tokens, and seals none
   2. with --seal prefer: it seals, and still reads tokens that are not sealed
   3. when each account has been refreshed since: without --seal

To switch it off, take the steps backwards: --seal prefer, --seal allow, and when
each account has been refreshed since, no key file. Doctor says of each account
how its token is sealed.

What stands behind the colon also serves as a user's udp_key.`,
		Action: p.keygen,
	}
}

func (p program) keygen(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("keygen takes no names: got %s", strings.Join(c.Args().Slice(), " "))
	}
	_, err := fmt.Fprintln(p.stdout, seal.NewLine(time.Now()))
	return err
}
