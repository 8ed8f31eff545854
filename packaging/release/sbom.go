package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// debian are the folders of the packages' programs, and what they are built for.
var debian = []struct {
	arch   string
	target target
}{
	{"amd64", target{os: "linux", arch: "amd64"}},
	{"arm64", target{os: "linux", arch: "arm64"}},
	{"armhf", target{os: "linux", arch: "arm", arm: "6"}},
}

// listOne lists the modules of one program.
func (o *options) listOne(path, output string, stdout io.Writer) error {
	var b bytes.Buffer
	if err := writeSBOM(&b, path, o); err != nil {
		return err
	}
	if output == "" {
		_, err := b.WriteTo(stdout)
		return err
	}
	return os.WriteFile(output, b.Bytes(), 0o644)
}

// listModules writes the list of each program's modules and returns their names.
// Raidctl for Linux is the same in the packages and the archives.
func listModules(o *options, laptops []target) ([]string, error) {
	var names []string
	list := func(program, folder string, t target) error {
		arch := t.arch
		if t.arm != "" {
			arch += "v" + t.arm
		}
		name := fmt.Sprintf("%s_%s_%s_%s.cdx.json", strings.TrimSuffix(program, ".exe"), o.version, t.os, arch)
		names = append(names, name)
		return o.listOne(filepath.Join(o.dist, "build", folder, program), filepath.Join(o.dist, name), nil)
	}
	for _, d := range debian {
		for _, program := range []string{"raid-controller", "raid-node"} {
			if _, err := os.Stat(filepath.Join(o.dist, "build", d.arch, program)); err != nil {
				continue // packages of some architectures alone were built
			}
			if err := list(program, d.arch, d.target); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range laptops {
		program := "raidctl"
		if t.os == "windows" {
			program += ".exe"
		}
		if err := list(program, t.folder(), t); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// writeSBOM lists the modules that Go's linker says are in a program.
func writeSBOM(w io.Writer, path string, o *options) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read what is linked into %s: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	bom := cdx.NewBOM()
	sum := sha256.Sum256(content)
	bom.SerialNumber = serial(sum)
	bom.Metadata = &cdx.Metadata{
		Timestamp: o.moment.Format(time.RFC3339),
		Component: program(info, strings.TrimSuffix(filepath.Base(path), ".exe"), o.version, hex.EncodeToString(sum[:])),
	}
	std := cdx.Component{
		Type: cdx.ComponentTypeLibrary, Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"),
		Description: "Go's standard library and runtime",
	}
	std.PackageURL = "pkg:golang/std@" + std.Version
	std.BOMRef = std.PackageURL
	libraries := []cdx.Component{std}
	refs := []string{std.BOMRef}
	for _, m := range info.Deps {
		c, err := library(m)
		if err != nil {
			return err
		}
		libraries, refs = append(libraries, c), append(refs, c.BOMRef)
	}
	bom.Components = &libraries
	bom.Dependencies = &[]cdx.Dependency{{Ref: bom.Metadata.Component.BOMRef, Dependencies: &refs}}
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

// program is the component that the list is about.
func program(info *debug.BuildInfo, name, version, sum string) *cdx.Component {
	c := &cdx.Component{
		Type: cdx.ComponentTypeApplication, Name: name, Version: version,
		PackageURL: "pkg:golang/" + info.Main.Path + "@" + strings.ReplaceAll(version, "~", "%7E") + "#" + strings.TrimPrefix(info.Path, info.Main.Path+"/"),
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}
	c.BOMRef = c.PackageURL
	var built []cdx.Property
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOARM", "CGO_ENABLED":
			built = append(built, cdx.Property{Name: "go:build:" + s.Key, Value: s.Value})
		}
	}
	c.Properties = &built
	return c
}

// library is a module. Its hash is that of go.sum: of the names and hashes of its
// files, and of no file that could be fetched.
func library(m *debug.Module) (cdx.Component, error) {
	if m.Replace != nil {
		m = m.Replace
	}
	c := cdx.Component{
		Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, Scope: cdx.ScopeRequired,
		PackageURL: "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B"),
	}
	c.BOMRef = c.PackageURL
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return c, fmt.Errorf("module %s has no checksum: %q", m.Path, m.Sum)
	}
	c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	return c, nil
}

// serial is a UUID made of the program's hash (RFC 9562, version 8), so that the same
// program has the same list.
func serial(sum [sha256.Size]byte) string {
	u := sum[:16] // of a copy: arrays are passed by value
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
