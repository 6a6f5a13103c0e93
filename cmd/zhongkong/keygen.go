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

Every process needs the same file. To rotate, put a new line on top of it, let
every process read it again, and take the old line out when each account has
been refreshed since.

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
