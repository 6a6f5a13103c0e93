package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/datagram"
	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore/seal"
)

// The variables that ask reads; the key is never an argument.
const (
	envAskUser    = "ZHONGKONG_USER"
	envAskKey     = "ZHONGKONG_UDP_KEY"
	envAskKeyFile = "ZHONGKONG_UDP_KEY_FILE"
)

func (p program) askCommand() *cli.Command {
	return &cli.Command{
		Name:      "ask",
		Usage:     "get the current token from a server by datagram",
		ArgsUsage: "[NAME]",
		Description: `Needs neither Redis nor the AppSecret, only a user of the server's configuration that
has a udp_key, and that key in a file or in $` + envAskKey + `.

   zhongkong ask --udp 10.0.0.5:9091 --user ci --key-file udp.key wx8acdb7df5beb68fd

NAME may be left out where --appid is given. Prints the token alone, like show. A
server does not answer a request that it cannot open, so a wrong key looks like a
server that is down.`,
		Flags: append([]cli.Flag{
			newValueFlag("udp", "ADDR", "", "address of serve --udp"),
			newValueFlag("user", "NAME", "", "name of the user [$"+envAskUser+"]"),
			newValueFlag("key-file", "F", "", "file with the user's udp_key [$"+envAskKeyFile+"]"),
		}, tokenFlags()...),
		Action: p.ask,
	}
}

func (p program) ask(c *cli.Context) error {
	format, err := formatOf(c)
	if err != nil {
		return err
	}
	account, err := p.askedAccount(c)
	if err != nil {
		return err
	}
	client, err := p.askClient(c)
	if err != nil {
		return err
	}
	ctx, cancel, err := waiting(c)
	if err != nil {
		return err
	}
	defer cancel()
	record, err := client.Ask(ctx, account)
	if err != nil {
		return askError(account, err)
	}
	return format.print(p, record)
}

func (p program) askedAccount(c *cli.Context) (string, error) {
	switch {
	case c.NArg() > 1:
		return "", usagef("more than one NAME: %s", strings.Join(c.Args().Slice(), ", "))
	case c.NArg() == 1:
		return checked(c.Args().First())
	}
	name := cmp.Or(c.String("appid"), p.env("ZHONGKONG_APPID"))
	if name == "" {
		return "", usagef("no account: give its NAME, as in zhongkong ask --udp ADDR NAME")
	}
	return checked(name)
}

func (p program) askClient(c *cli.Context) (*datagram.Client, error) {
	client := &datagram.Client{Addr: c.String("udp"), Name: cmp.Or(c.String("user"), p.env(envAskUser))}
	if _, port, err := net.SplitHostPort(client.Addr); err != nil || port == "" {
		return nil, usagef("--udp: give HOST:PORT, the address of `zhongkong serve --udp`")
	}
	if client.Name == "" {
		return nil, usagef("no user: give --user NAME or $%s", envAskUser)
	}
	key, from, err := p.askKey(c)
	if err != nil {
		return nil, err
	}
	if _, after, isLine := strings.Cut(key, ":"); isLine { // the whole line that keygen prints
		key = after
	}
	if client.Key, err = seal.DecodeKey(strings.TrimSpace(key)); err != nil {
		return nil, usagef("the user's key in %s %v", from, err)
	}
	return client, nil
}

// askKey returns the key as it was written, and where it was found.
func (p program) askKey(c *cli.Context) (key, from string, err error) {
	path := cmp.Or(c.String("key-file"), p.env(envAskKeyFile))
	if path == "" {
		if key := p.env(envAskKey); key != "" {
			return key, "$" + envAskKey, nil
		}
		return "", "", usagef("no key of the user: give --key-file F, $%s or $%s", envAskKeyFile, envAskKey)
	}
	secret, warning, err := config.ReadSecret(path)
	if err != nil {
		return "", "", usagef("the user's key: %v", err)
	}
	if warning != "" {
		fmt.Fprintf(p.stderr, "warning: %s\n", warning)
	}
	return secret.Reveal(), path, nil
}

// askError gives a server's answer the exit code that show would have.
func askError(account string, err error) error {
	answered := new(datagram.AnswerError)
	switch {
	case errors.Is(err, datagram.ErrNoAnswer):
		return &reportedError{err, coordinator.ErrNoToken}
	case !errors.As(err, &answered):
		return err
	}
	switch answered.Code {
	case "no_token":
		return &reportedError{err, coordinator.ErrNoToken}
	case "refused":
		return &reportedError{err, &coordinator.RefusedError{Account: account, Message: answered.Message}}
	case "store_unreachable", "store_denied": // the latter does not say whether it is the password or a right
		return &reportedError{err, coordinator.ErrUnreachable}
	case "throttled":
		return &reportedError{err, &coordinator.ThrottledError{}}
	case "no_grant":
		return &reportedError{err, &coordinator.GrantError{}}
	case "unknown_account":
		return &reportedError{err, &unknownAccountError{name: account}}
	}
	return err
}

// reportedError is an error that another process reported. It reads like what was
// said, and errors.Is and As find in it what kind of error it is.
type reportedError struct{ said, is error }

func (e *reportedError) Error() string   { return e.said.Error() }
func (e *reportedError) Unwrap() []error { return []error{e.said, e.is} }
