package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/redisstore"
	"github.com/zhongkong/zhongkong/redisstore/redisadmin"
)

func (p program) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "check the deployment and say how to fix it",
		ArgsUsage: "[NAME...]",
		Description: `Changes nothing and calls no endpoint that ends a token: it tries the AppSecret and
the IP whitelist on stable_token in its normal mode, whose tokens are independent of
the classic ones. A secret of another issuer is not tried if a call would end the current
token, or if the issuer has refused it. Only an account that has no token is refreshed.
Exits with 1 if a check fails, and with 2 if the configuration cannot be read.`,
		Flags:  []cli.Flag{newSwitchFlag("json", "print a JSON array")},
		Action: p.bounded(doctorTimeout, doctor),
	}
}

type finding struct {
	Check   string `json:"check"`
	Account string `json:"account,omitempty"`
	Result  string `json:"result"` // resultOK, resultWarn or resultFail
	Detail  string `json:"detail"`
	Fix     string `json:"fix,omitempty"`
}

const (
	resultOK   = "ok"
	resultWarn = "warn"
	resultFail = "FAIL"
)

// checks collects findings about one account or the whole deployment.
type checks struct {
	*session
	account  string
	findings *[]finding
}

func (x checks) ok(check, format string, args ...any) {
	x.add(resultOK, check, fmt.Sprintf(format, args...), "")
}

func (x checks) warn(check, fix, format string, args ...any) {
	x.add(resultWarn, check, fmt.Sprintf(format, args...), fix)
}

func (x checks) fail(check, fix, format string, args ...any) {
	x.add(resultFail, check, fmt.Sprintf(format, args...), fix)
}

func (x checks) add(result, check, detail, fix string) {
	*x.findings = append(*x.findings, finding{check, x.account, result, detail, fix})
}

func doctor(ctx context.Context, s *session, c *cli.Context) error {
	x := checks{session: s, findings: &[]finding{}}
	err := x.runAll(ctx, c.Args().Slice())
	if err == nil {
		err = x.report(c)
	}
	return errors.Join(err, s.drain(s.undrained...))
}

// report prints the findings. The error says that a check has failed.
func (x checks) report(c *cli.Context) error {
	var err error
	if c.Bool("json") {
		err = x.printJSON(*x.findings)
	} else {
		err = printFindings(x.session, *x.findings)
	}
	if err != nil {
		return err
	}
	wrong := 0
	for _, f := range *x.findings {
		if f.Result == resultFail {
			wrong++
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d checks failed", wrong, len(*x.findings))
	}
	return nil
}

// runAll runs the checks in an order in which the first failure is the cause of
// those after it.
func (x checks) runAll(ctx context.Context, args []string) error {
	x.configuration()
	if !x.servers(ctx) {
		return nil
	}
	names := x.namesWith(args)
	x.rights(ctx, names)
	x.refusals(ctx, names)
	x.grants(ctx)
	names, err := x.accounts(ctx, args)
	if err != nil {
		return err
	}
	for _, name := range names {
		x.account = name
		x.accountChecks(ctx)
	}
	if len(args) == 0 {
		x.members(ctx)
		x.account = ""
		x.otherGrants(ctx)
	}
	return nil
}

// accounts returns the accounts to check. None is a finding, not an error.
func (x checks) accounts(ctx context.Context, args []string) ([]string, error) {
	if len(args) > 0 || len(x.cfg.Accounts) > 0 {
		return x.manyAccounts(ctx, args)
	}
	names, err := redisadmin.New(x.store).Accounts(ctx)
	if errors.Is(err, redisstore.ErrDenied) {
		x.warn("accounts", "give --appid, --config FILE or a NAME", "no account is configured, and the Redis user may not search for accounts (+scan)")
		return nil, nil
	}
	if err != nil || len(names) == 0 {
		x.warn("accounts", "give --appid, --config FILE or a NAME", "no account is configured and none was found in Redis")
		return nil, nil
	}
	return names, nil
}

// role is Refresher if this process has a secret: a refresher needs all the rights
// that a reader needs.
func (x checks) role() coordinator.Role {
	for _, a := range x.cfg.Accounts {
		if x.cfg.Refreshing(a) {
			return coordinator.Refresher
		}
	}
	return coordinator.Reader
}

func (x checks) configuration() {
	var accounts []string
	for _, a := range x.cfg.Accounts {
		role := "refresher"
		if !x.cfg.Refreshing(a) {
			role = "reader"
		}
		accounts = append(accounts, fmt.Sprintf("%s (%s)", a.Name, role))
	}
	if len(accounts) == 0 {
		accounts = []string{"no account configured"}
	}
	var problems []error
	if len(x.cfg.Accounts) > 0 {
		problems = x.serveProblems("", false)
	}
	for _, problem := range problems {
		x.fail("configuration", "`zhongkong check` lists all problems without a network", "serve would refuse: %v", problem)
	}
	if len(problems) == 0 {
		x.ok("configuration", "%s", list(accounts))
	}
	for _, w := range x.cfg.Warnings {
		detail, fix, _ := strings.Cut(w, ": chmod")
		if fix != "" {
			fix = "chmod" + fix
		}
		x.warn("configuration", fix, "%s", detail)
	}
}

func printFindings(s *session, findings []finding) error {
	var rows [][]string
	for _, f := range findings {
		check := f.Check
		if f.Account != "" {
			check = f.Account + " " + check
		}
		rows = append(rows, []string{f.Result, check, f.Detail})
		if f.Fix != "" {
			rows = append(rows, []string{"", "", "-> " + f.Fix})
		}
	}
	return table(s.stdout, rows)
}
