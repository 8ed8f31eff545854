package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is one whose code is linked into a program.
type module struct {
	path, version, dir string
	folders            map[string]bool // that have code which is linked, and those above
}

// copyrightOf returns a package's copyright file in Debian's format, 1.0. It has our own licence
// and that of every module which the programs link on any system, with its text. The licences ask
// that of those who hand out programs.
func copyrightOf(ctx context.Context, p *pkg) ([]byte, error) {
	modules := map[string]*module{}
	for _, b := range p.programs {
		for _, system := range b.Systems {
			for _, arch := range []string{"amd64", "arm64", "arm"} {
				if arch == "arm" && system != "linux" {
					continue
				}
				if err := addLinked(ctx, modules, system, arch, b.Main); err != nil {
					return nil, err
				}
			}
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: raidpi
Upstream-Contact: %s
Source: %s
Comment:
 The program is one file, linked from the source below and from libraries,
 which are named with their versions and licences after it.

Files: *
Copyright: the raidpi authors
License: Apache-2.0
%s`, p.Maintainer, p.Homepage, indent(apache))
	golang, err := standardLibrary(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range append([]*module{golang}, slices.SortedFunc(maps.Values(modules), func(a, b *module) int { return cmp.Compare(a.path, b.path) })...) {
		if err := m.describe(&out); err != nil {
			return nil, fmt.Errorf("module %s in %s: %w", m.path, m.dir, err)
		}
	}
	return out.Bytes(), nil
}

// standardLibrary returns the module of the Go toolchain.
func standardLibrary(ctx context.Context) (*module, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go's own licence: %w", err)
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return &module{path: "go", version: strings.TrimPrefix(version, "go"), dir: dir, folders: map[string]bool{dir: true}}, nil
}

// addLinked finds the modules and folders of what is linked into a program.
func addLinked(ctx context.Context, modules map[string]*module, system, arch, program string) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}", program)
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "GOARM=6", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	list, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list what %s links: %w", program, err)
	}
	for line := range strings.Lines(string(list)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 4 {
			continue // the standard library, or our own
		}
		m := modules[f[0]]
		if m == nil {
			m = &module{path: f[0], version: f[1], dir: f[2], folders: map[string]bool{f[2]: true}}
			modules[m.path] = m
		}
		for dir := f[3]; strings.HasPrefix(dir, m.dir); dir = filepath.Dir(dir) {
			m.folders[dir] = true
		}
	}
	return nil
}

var (
	licenceFiles = regexp.MustCompile(`(?i)(licen[cs]e|^copying|^copyright|^notice|^patents)`)
	copyrights   = regexp.MustCompile(`(?im)^[^a-z\n]*copyright\s+((?:\(c\)\s*|©\s*)?(?:[0-9]{4}|the ).*)$`)
)

// describe writes the paragraph of a module.
func (m *module) describe(out *bytes.Buffer) error {
	var names, holders []string
	var texts strings.Builder
	for _, dir := range slices.Sorted(maps.Keys(m.folders)) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.IsDir() || !licenceFiles.MatchString(e.Name()) || filepath.Ext(e.Name()) == ".go" {
				continue
			}
			raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			text := strings.ToValidUTF8(strings.ReplaceAll(string(raw), "\r", ""), "?")
			for _, found := range copyrights.FindAllStringSubmatch(text, -1) {
				holders = append(holders, strings.Join(strings.Fields(found[1]), " "))
			}
			name := licence(text)
			if name == "Apache-2.0" {
				text = apache // Debian has the text itself
				holders = slices.DeleteFunc(holders, func(h string) bool { return strings.Contains(h, "[yyyy]") })
			}
			if name != "" {
				names = append(names, name)
			}
			where, err := filepath.Rel(m.dir, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			fmt.Fprintf(&texts, "[%s]\n\n%s\n\n", where, strings.TrimSpace(text))
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("no licence was found that is known here")
	}
	slices.Sort(names)
	if len(holders) == 0 {
		holders = []string{"the authors of " + m.path}
	}
	fmt.Fprintf(out, "\nFiles: %s@%s/*\nCopyright: %s\nLicense: %s\n%s", m.path, m.version,
		strings.Join(unique(holders), "\n "), strings.Join(slices.Compact(names), " and "), indent(texts.String()))
	return nil
}

// unique keeps the first of each, in their order.
func unique(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s string) bool {
		was := seen[s]
		seen[s] = true
		return was
	})
}

// licence is the short name that Debian's format has for a text; empty: none that is
// known here.
func licence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("Apache License") && has("Version 2.0, January 2004"):
		return "Apache-2.0"
	case has("Redistribution and use in source and binary forms") && (has("endorse or promote") || has("endorse nor promote")):
		return "BSD-3-Clause"
	case has("Redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	case has("Permission is hereby granted, free of charge"):
		return "Expat"
	case has("Permission to use, copy, modify, and"):
		return "ISC"
	case has("public domain"):
		return "public-domain"
	}
	return ""
}

const apache = `Licensed under the Apache License, Version 2.0 (the "License"); you may not use
these files except in compliance with the License. Unless required by applicable
law or agreed to in writing, software distributed under the License is
distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND,
either express or implied. See the License for the specific language governing
permissions and limitations under the License.

On Debian systems its text is in /usr/share/common-licenses/Apache-2.0.
`

// indent makes a text the rest of a field (deb822(5)).
func indent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimRight(line, " \t\n")
		out.WriteString(" " + cmp.Or(line, ".") + "\n")
	}
	return out.String()
}
