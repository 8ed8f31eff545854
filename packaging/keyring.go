package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

// keyringName is the package of the key that signs the repository. It is built when
// the repository is, for whose key it has.
const keyringName = "raid-archive-keyring"

// keyringDescription follows Debian's Developer's Reference, 6.2.
const keyringDescription = `key of the package archive of raidpi
It has the key that the archive of raidpi's packages is signed with, so that a
new key comes by an upgrade, and keeps apt from taking packages of other
projects from that archive.`

// preferences let apt install and upgrade from the archive what nobody else has
// (apt_preferences(5)): what Debian has too stays Debian's.
const preferences = `Package: *
Pin: release o=raidpi
Pin-Priority: 100
`

// buildKeyring builds the package of a public key, which is in nothing but its bytes
// and the date of the sources.
func buildKeyring(o *options, d *description, stdout io.Writer) error {
	first := d.packages[0] // the maintainer of the others makes this one
	p := &pkg{Name: keyringName, Release: first.Release, Maintainer: first.Maintainer, Homepage: first.Homepage}
	dir := filepath.Join(o.dist, "build", "share", "doc", keyringName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the documents of %s: %w", keyringName, err)
	}
	made := map[string][]byte{
		"changelog.Debian.gz": zipped([]byte(changelog(o, p))),
		"copyright":           []byte(keyringCopyright(p, o.moment.Format("2006"))),
		"raidpi.pref":         []byte(preferences),
	}
	for name, content := range made {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write the documents of %s: %w", keyringName, err)
		}
	}
	plain := &files.ContentFileInfo{Mode: 0o644, Owner: "root", Group: "root", MTime: o.moment}
	i := nfpm.WithDefaults(&nfpm.Info{
		Name: keyringName, Arch: "all", Platform: "linux", Version: o.version, VersionSchema: "none", Release: p.Release,
		Section: "misc", Priority: "optional", Maintainer: p.Maintainer, Description: keyringDescription, Homepage: p.Homepage,
		MTime: o.moment, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Deb: nfpm.Deb{Compression: "xz"},
			Contents: files.Contents{
				{Source: o.keyring, Destination: "/usr/share/keyrings/" + keyringName + ".gpg", FileInfo: plain},
				{Source: filepath.Join(dir, "raidpi.pref"), Destination: "/etc/apt/preferences.d/raidpi.pref", Type: files.TypeConfigNoReplace, FileInfo: plain},
				{Source: "packaging/" + keyringName + "/lintian-overrides", Destination: "/usr/share/lintian/overrides/" + keyringName, FileInfo: plain},
				{Source: filepath.Join(dir, "changelog.Debian.gz"), Destination: "/usr/share/doc/" + keyringName + "/changelog.Debian.gz", FileInfo: plain},
				{Source: filepath.Join(dir, "copyright"), Destination: "/usr/share/doc/" + keyringName + "/copyright", FileInfo: plain},
			},
		},
	})
	i.Target = filepath.Join(o.dist, deb.Default.ConventionalFileName(i))
	if err := write(i); err != nil {
		return fmt.Errorf("build %s: %w", i.Target, err)
	}
	fmt.Fprintln(stdout, i.Target)
	return nil
}

func keyringCopyright(p *pkg, year string) string {
	return fmt.Sprintf(`Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: raidpi
Upstream-Contact: %s
Source: %s

Files: *
Copyright: %s the raidpi authors
License: Apache-2.0
%s`, p.Maintainer, p.Homepage, year, indent(apache))
}
