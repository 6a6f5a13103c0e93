package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the format
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the format
)

// packages writes the .deb and the .rpm of a Linux. nfpm makes them without dpkg or
// rpm, the same bytes each time.
func (s source) packages(name string, sys system, binary string, published []file) error {
	dir, err := os.MkdirTemp(filepath.Dir(binary), "package-")
	if err != nil {
		return err
	}
	var contents files.Contents
	add := func(source, destination, kind string, mode os.FileMode) {
		contents = append(contents, &files.Content{Source: source, Destination: destination, Type: kind,
			FileInfo: &files.ContentFileInfo{Mode: mode, MTime: s.date, Owner: "root", Group: "root"}})
	}
	for i, f := range published {
		if f.path == "" {
			continue
		}
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, f.data, f.mode); err != nil {
			return err
		}
		add(path, f.path, "", f.mode)
	}
	deploy := filepath.Join(s.root, "scripts/deploy/package")
	add(filepath.Join(deploy, "zhongkong-setup"), "/usr/sbin/zhongkong-setup", "", 0o755)
	add(filepath.Join(deploy, "zhongkong.service"), "/usr/lib/systemd/system/zhongkong.service", "", 0o644)
	add(filepath.Join(deploy, "sysusers.conf"), "/usr/lib/sysusers.d/zhongkong.conf", "", 0o644)
	add(filepath.Join(deploy, "zhongkong.yaml"), "/etc/zhongkong/zhongkong.yaml", files.TypeConfigNoReplace, 0o644)
	add(filepath.Join(s.root, "scripts/monitoring/alerts.yml"), "/usr/share/doc/zhongkong/alerts.yml", "", 0o644)

	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "zhongkong", Arch: packageArch(sys.arch), Platform: "linux", Version: strings.TrimPrefix(s.version, "v"),
		Section: "net", Priority: "optional", Maintainer: "The Zhongkong authors <zhongkong@users.noreply.github.com>",
		Description: "Keeps WeChat's access_token, and credentials like it, for a fleet\n" +
			"One process refreshes, every other has the new token at once. Redis is what they share.",
		Homepage: repository, License: "Apache-2.0", MTime: s.date,
		Overridables: nfpm.Overridables{
			Contents: contents, Recommends: []string{"ca-certificates"}, Suggests: []string{"redis-server"},
			Scripts: nfpm.Scripts{
				PostInstall: filepath.Join(deploy, "postinst"), PreRemove: filepath.Join(deploy, "prerm"), PostRemove: filepath.Join(deploy, "postrm"),
			},
		},
	})
	info.RPM.BuildHost = "localhost"
	// The service's LoadCredential= names a directory. An older systemd starts no such service;
	// a container may have none.
	info.Deb.Breaks = []string{"systemd (<< 250)"}
	rpm := *info
	rpm.Conflicts = []string{"systemd < 250"}
	return errors.Join(writePackage(info, "deb", name), writePackage(&rpm, "rpm", name))
}

func writePackage(info *nfpm.Info, format, name string) (err error) {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	copied := *info
	if err := nfpm.PrepareForPackager(&copied, format); err != nil {
		return err
	}
	out, err := os.Create(name + "." + format)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return packager.Package(&copied, out)
}

// packageArch returns nfpm's name of an architecture.
func packageArch(arch string) string {
	if arch == "arm" {
		return "arm7"
	}
	return arch
}
