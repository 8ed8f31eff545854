package main

import (
	"fmt"
	"os"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

// description holds what .goreleaser.yaml says of the archives.
type description struct {
	name    string // a template
	files   []file
	targets []target
}

// file is one in the archives, beside the program.
type file struct {
	Source      string `yaml:"src"`
	Destination string `yaml:"dst"`
}

// target names the system that a program is built for.
type target struct {
	os, arch, arm string // in Go's words
	format        string // tar.gz or zip
}

// folder is the one into which make has put the program, below DIST/build.
func (t target) folder() string { return t.os + "_" + t.arch + t.arm }

// archives is one of the file's archives.
type archives struct {
	IDs       []string   `yaml:"ids"`
	Name      string     `yaml:"name_template"`
	Formats   []string   `yaml:"formats"`
	Overrides []override `yaml:"format_overrides"`
	Files     []file     `yaml:"files"`
}

type override struct {
	OS      string   `yaml:"goos"`
	Formats []string `yaml:"formats"`
}

// build is one of the file's builds.
type build struct {
	ID     string   `yaml:"id"`
	OS     []string `yaml:"goos"`
	Arch   []string `yaml:"goarch"`
	ARM    []string `yaml:"goarm"`
	Ignore []struct {
		OS   string `yaml:"goos"`
		Arch string `yaml:"goarch"`
	} `yaml:"ignore"`
}

func readDescription(path string) (*description, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what is in the archives: %w", err)
	}
	var whole struct {
		Builds   []build    `yaml:"builds"`
		Archives []archives `yaml:"archives"`
	}
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(whole.Archives) != 1 || len(whole.Archives[0].IDs) != 1 {
		return nil, fmt.Errorf("%s: want one kind of archives, of one build", path)
	}
	a := whole.Archives[0]
	d := &description{name: a.Name, files: a.Files}
	for _, b := range whole.Builds {
		if b.ID == a.IDs[0] {
			d.targets = b.targets(a.format)
		}
	}
	if len(d.targets) == 0 {
		return nil, fmt.Errorf("%s: the archives are of no build", path)
	}
	return d, nil
}

func (a *archives) format(goos string) string {
	for _, o := range a.Overrides {
		if o.OS == goos && len(o.Formats) == 1 {
			return o.Formats[0]
		}
	}
	return strings.Join(a.Formats, ",")
}

// targets are all systems with all kinds of processors that there are and that are
// not ignored.
func (b *build) targets(format func(goos string) string) []target {
	var all []target
	for _, goos := range b.OS {
		for _, arch := range b.Arch {
			switch {
			case b.ignores(goos, arch):
			case arch == "arm":
				for _, arm := range b.ARM {
					all = append(all, target{goos, arch, arm, format(goos)})
				}
			default:
				all = append(all, target{goos, arch, "", format(goos)})
			}
		}
	}
	return all
}

func (b *build) ignores(goos, arch string) bool {
	for _, i := range b.Ignore {
		if i.OS == goos && i.Arch == arch {
			return true
		}
	}
	return goos == "darwin" && arch == "arm" // Go has none, and goreleaser knows
}

// archiveName is the archive's, without its extension.
func (d *description) archiveName(o *options, t target) (string, error) {
	tmpl, err := template.New("name_template").Option("missingkey=error").Parse(d.name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = tmpl.Execute(&b, map[string]string{"Version": o.version, "Os": t.os, "Arch": t.arch, "Arm": t.arm})
	return b.String(), err
}
