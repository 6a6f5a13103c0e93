package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/config"
	"github.com/zhongkong/zhongkong/cmd/zhongkong/internal/tokenfile"
	"github.com/zhongkong/zhongkong/coordinator"
)

func (p program) syncCommand() *cli.Command {
	return &cli.Command{
		Name:      "sync",
		Usage:     "keep tokens in files, for programs that read them there",
		ArgsUsage: "[NAME]",
		Description: `Writes the files of files: in the configuration, or the one of --path, and replaces them
at each change of the token until it is stopped. It needs Redis and no secret, because
it only reads: a serve somewhere refreshes the tokens. A serve with files: writes them
itself.

   zhongkong sync --config /etc/zhongkong/zk.yaml
   zhongkong sync --path /run/zhongkong/token --mode 0640 wx8acdb7df5beb68fd

With --once it writes them and ends, for cron: it waits up to --wait for a token, and
prints nothing if all went well. On SIGHUP, and when the configuration or
the seal keys change, the list of files and the seal keys are read again.`,
		Flags: []cli.Flag{
			newValueFlag("path", "F", "", "the file, in place of files: in the configuration"),
			newChoiceFlag("format", "FORMAT", "", "with --path: raw (default) or json", tokenfile.Formats()),
			newValueFlag("mode", "MODE", "", "with --path: its mode in octal digits (default 0600)"),
			newSwitchFlag("once", "write the files once and end"),
			waitFlag(),
		},
		Action: p.sync,
	}
}

func (p program) sync(c *cli.Context) error {
	s, err := p.configured(c, p.input(c))
	if err != nil {
		return err
	}
	defer s.close()
	if c.Bool("once") {
		return s.syncOnce(c)
	}
	return s.runDaemon(func() error { return s.keepFiles(c) })
}

// filesToKeep returns the files that a sync writes, and a coordinator that only reads the
// tokens of their accounts.
func (s *session) filesToKeep(c *cli.Context) ([]tokenfile.File, *coordinator.Coordinator, error) {
	if err := s.open(s.cfg.Redis, s.cfg.Prefix); err != nil {
		return nil, nil, err
	}
	files, err := s.syncedFiles(c, s.cfg)
	if err != nil {
		return nil, nil, err
	}
	cfg := s.coordinatorConfig()
	for _, name := range accountsOf(files) {
		cfg.Accounts = append(cfg.Accounts, coordinator.AccountConfig{Name: name})
	}
	zk, err := newCoordinator(cfg)
	return files, zk, err
}

// syncedFiles returns the files that a sync writes.
func (s *session) syncedFiles(c *cli.Context, cfg *config.Config) ([]tokenfile.File, error) {
	path := c.String("path")
	switch {
	case path == "" && (c.IsSet("format") || c.IsSet("mode")):
		return nil, usagef("--format and --mode belong to the file of --path: give --path too")
	case path == "" && c.Args().Present():
		return nil, usagef("a NAME is the account of the file of --path: give --path too")
	case path == "" && len(cfg.TokenFiles) == 0:
		return nil, usagef("no file: give --path F, or files: in the configuration")
	case path == "":
		return cfg.TokenFiles, nil
	}
	f, err := fileOfFlags(c, path)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := waiting(c)
	if err != nil {
		return nil, err
	}
	defer cancel()
	f.Account, err = s.awaitedAccount(ctx, cfg, c.Args().Slice())
	return []tokenfile.File{f}, err
}

func fileOfFlags(c *cli.Context, path string) (f tokenfile.File, err error) {
	if f.Path, err = filepath.Abs(path); err == nil {
		err = tokenfile.CheckPath(f.Path)
	}
	if err != nil {
		return f, usagef("--path: %v", err)
	}
	if v := c.String("format"); v != "" {
		if f.Format, err = tokenfile.ParseFormat(v); err != nil {
			return f, usagef("--format: %v", err)
		}
	}
	if v := c.String("mode"); v != "" {
		if f.Mode, err = tokenfile.ParseMode(v); err != nil {
			return f, usagef("--mode: %v", err)
		}
	}
	return f, nil
}

// syncOnce writes the files of the accounts that have a token in time. One that fails
// does not keep it from the others.
func (s *session) syncOnce(c *cli.Context) error {
	files, zk, err := s.filesToKeep(c)
	if err != nil {
		return err
	}
	ctx, cancel, err := waiting(c)
	if err != nil {
		return err
	}
	defer cancel()
	var wg sync.WaitGroup
	problems := make([]error, len(files))
	for i, f := range files {
		wg.Go(func() { // ends after ctx, when the file is written
			account, _ := zk.Account(f.Account)
			snapshot, err := account.Current(ctx)
			if err != nil {
				problems[i] = s.withoutToken(f.Account, err)
				return
			}
			problems[i] = f.WriteOnce(c.Context, snapshot.Record, s.log)
		})
	}
	wg.Wait()
	return errors.Join(problems...)
}

// keepFiles keeps the files until a signal ends it.
func (s *session) keepFiles(c *cli.Context) error {
	files, zk, err := s.filesToKeep(c)
	if err != nil {
		return err
	}
	set := tokenfile.NewSet(zk, s.log)
	set.Configure(files)
	watched := s.watchFiles()
	s.log.Info("keeping token files", "files", len(files), "accounts", list(accountsOf(files)), "redis", s.where(), "prefix", s.prefix)
	s.logSealKeys()

	ctx, stop := context.WithCancel(c.Context)
	var wg sync.WaitGroup
	wg.Go(func() { set.Run(ctx) }) // ends with ctx
	wg.Go(func() {                 // ends with ctx
		watched.follow(ctx, s.logRefusedKeys, func(bool) { s.reloadFiles(c, zk, set) })
	})
	err = zk.Run(ctx)
	stop()
	wg.Wait()
	return err
}

// reloadFiles reads the list of files again. A refused one changes nothing.
func (s *session) reloadFiles(c *cli.Context, zk *coordinator.Coordinator, set *tokenfile.Set) {
	cfg, err := s.loadAgain(s.input(c))
	var files []tokenfile.File
	if err == nil {
		files, err = s.syncedFiles(c, cfg)
	}
	if err != nil {
		s.log.Error("the new configuration is refused, the old one stays in use", "error", err)
		return
	}
	names := accountsOf(files)
	for _, name := range names {
		if _, there := zk.Account(name); !there {
			if _, err := zk.Add(coordinator.AccountConfig{Name: name}); err != nil {
				s.log.Error("an account is refused", "account", name, "error", err)
			}
		}
	}
	set.Configure(files)
	s.cfg = cfg
	for _, a := range zk.Accounts() {
		if !slices.Contains(names, a.Name()) {
			_ = zk.Remove(a.Name()) // it is known
		}
	}
	s.log.Info("configuration read again", "accounts", list(names))
}

// accountsOf returns the accounts of files, each once.
func accountsOf(files []tokenfile.File) []string {
	var names []string
	for _, f := range files {
		names = append(names, f.Account)
	}
	return distinct(names)
}
