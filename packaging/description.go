package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"go.yaml.in/yaml/v3"
)

// description holds what .goreleaser.yaml says of packages and of their content.
type description struct {
	packages []*pkg
}

// pkg is one of its nfpms. Its keys are goreleaser's. One that is not here is refused, since two
// tools that read the same file must not build different packages.
type pkg struct {
	ID          string         `yaml:"id"`
	IDs         []string       `yaml:"ids"` // of the builds whose programs are in it
	Name        string         `yaml:"package_name"`
	FileName    string         `yaml:"file_name_template"`
	Formats     []string       `yaml:"formats"`
	Release     string         `yaml:"release"`
	MTime       string         `yaml:"mtime"`
	Maintainer  string         `yaml:"maintainer"`
	Homepage    string         `yaml:"homepage"`
	Section     string         `yaml:"section"`
	Priority    string         `yaml:"priority"`
	Description string         `yaml:"description"`
	Depends     []string       `yaml:"dependencies"`
	Recommends  []string       `yaml:"recommends"`
	Bindir      string         `yaml:"bindir"`
	Scripts     nfpm.Scripts   `yaml:"scripts"`
	Deb         debOptions     `yaml:"deb"`
	Contents    files.Contents `yaml:"contents"`

	programs []program
}

type debOptions struct {
	Compression string `yaml:"compression"`
}

// program is one of the builds.
type program struct {
	ID     string `yaml:"id"`
	Main   string `yaml:"main"`
	Binary string `yaml:"binary"`

	Systems []string `yaml:"goos"`
}

func readDescription(path string) (*description, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what is in the packages: %w", err)
	}
	// By way of any, so that anchors of one section can be used in another.
	var whole struct {
		Builds []any `yaml:"builds"`
		NFPMs  []any `yaml:"nfpms"`
	}
	var programs []program
	d := &description{}
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if err := decode(whole.Builds, &programs, false); err != nil {
		return nil, fmt.Errorf("read the builds of %s: %w", path, err)
	}
	if err := decode(whole.NFPMs, &d.packages, true); err != nil {
		return nil, fmt.Errorf("read the nfpms of %s: %w", path, err)
	}
	for _, p := range d.packages {
		if err := p.check(programs); err != nil {
			return nil, fmt.Errorf("%s, package %s: %w", path, p.Name, err)
		}
	}
	return d, nil
}

func decode(from []any, to any, strict bool) error {
	text, err := yaml.Marshal(from)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(strict)
	return decoder.Decode(to)
}

// commitDate is goreleaser's word for the date of the sources, which is -epoch here.
const commitDate = "{{ .CommitDate }}"

// check finds a package's programs, and what would make it another package here than
// with goreleaser.
func (p *pkg) check(programs []program) error {
	if p.MTime != commitDate {
		return fmt.Errorf("mtime is %q: the date of the sources is %q", p.MTime, commitDate)
	}
	if len(p.Formats) != 1 || p.Formats[0] != "deb" {
		return fmt.Errorf("formats are %v: only deb is built here", p.Formats)
	}
	for _, id := range p.IDs {
		found := false
		for _, b := range programs {
			if b.ID == id {
				p.programs, found = append(p.programs, b), true
			}
		}
		if !found {
			return fmt.Errorf("there is no build %q", id)
		}
	}
	if len(p.programs) == 0 {
		return fmt.Errorf("ids names no build")
	}
	return nil
}

// info is the package for one architecture, as nfpm takes it.
func (p *pkg) info(o *options, arch string) (*nfpm.Info, error) {
	i := &nfpm.Info{
		Name: p.Name, Arch: targets[arch], Platform: "linux", Version: o.version, VersionSchema: "none", Release: p.Release,
		Section: p.Section, Priority: p.Priority, Maintainer: p.Maintainer, Description: p.Description, Homepage: p.Homepage,
		MTime: o.moment, DisableGlobbing: true,
		Overridables: nfpm.Overridables{
			Depends: p.Depends, Recommends: p.Recommends, Scripts: p.Scripts,
			Deb: nfpm.Deb{Compression: p.Deb.Compression},
		},
	}
	data := map[string]string{
		"Arch": arch, "Version": o.version, "ConventionalFileName": deb.Default.ConventionalFileName(i),
	}
	for _, c := range p.Contents {
		c, info := *c, files.ContentFileInfo{}
		if c.FileInfo != nil {
			info = *c.FileInfo
		}
		info.MTime = o.moment
		c.FileInfo = &info
		c.Source = o.built(c.Source)
		i.Contents = append(i.Contents, &c)
	}
	for _, b := range p.programs {
		i.Contents = append(i.Contents, &files.Content{
			Source: filepath.Join(o.dist, "build", arch, b.Binary), Destination: p.Bindir + "/" + b.Binary,
			FileInfo: &files.ContentFileInfo{Mode: 0o755, Owner: "root", Group: "root", MTime: o.moment},
		})
	}
	name, err := expand(p.FileName, data)
	i.Target = filepath.Join(o.dist, name)
	return nfpm.WithDefaults(i), err
}

// built returns the path of a file that the description knows in dist/build: another dist
// has its own.
func (o *options) built(path string) string {
	if rest, ok := strings.CutPrefix(path, "dist/"); ok {
		return filepath.Join(o.dist, rest)
	}
	return path
}

// expand does what goreleaser does with the few templates that packages have.
func expand(text string, data map[string]string) (string, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = t.Execute(&out, data)
	return out.String(), err
}
