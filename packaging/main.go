// Command packaging builds the Debian packages.
//
// .goreleaser.yaml alone says what is in them, and goreleaser understands it too. Before, make
// builds the programs into DIST/build/ARCH, and what all architectures share into DIST/build/share.
// ./packaging/manual makes the manual there. This program with -share makes the copyright files,
// with the licences of all that is linked, and the changelogs. The same sources give the same
// bytes: nothing depends on the clock, the user or the folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	version string    // without Debian's revision
	moment  time.Time // of everything in the packages
	archs   []string  // as Debian calls them
	dist    string    // the folder of what is built
	share   bool      // write DIST/build/share instead of packages
	keyring string    // build the package of this public key instead
}

// versions that dpkg takes for an upstream version without an epoch (deb-version(7)).
var versions = regexp.MustCompile(`^[0-9][A-Za-z0-9.+~]*$`)

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("packaging", flag.ContinueOnError)
	fs.StringVar(&o.version, "version", "", "the `VERSION` that the programs were built with")
	epoch := fs.Int64("epoch", -1, "the `SECONDS` since 1970 that all files are dated with")
	archs := fs.String("archs", "amd64 arm64 armhf", "the `ARCHITECTURES` to build for")
	fs.StringVar(&o.dist, "dist", "dist", "the `FOLDER` to build in")
	fs.BoolVar(&o.share, "share", false, "write what all architectures share, and no packages")
	fs.StringVar(&o.keyring, "keyring", "", "build raid-archive-keyring, with the public key in `FILE`, and no other package")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if !versions.MatchString(o.version) {
		return o, fmt.Errorf("-version %q: a Debian version begins with a digit and has letters, digits, and .+~", o.version)
	}
	if *epoch < 0 {
		return o, errors.New("-epoch SECONDS is missing")
	}
	o.moment = time.Unix(*epoch, 0).UTC()
	o.archs = strings.Fields(*archs)
	for _, arch := range o.archs {
		if _, ok := targets[arch]; !ok {
			return o, fmt.Errorf("-archs: %q is none of amd64, arm64, armhf", arch)
		}
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	d, err := readDescription(".goreleaser.yaml")
	if err != nil {
		return err
	}
	if o.keyring != "" {
		return buildKeyring(&o, d, stdout)
	}
	if !o.share {
		return build(ctx, &o, d.packages, stdout)
	}
	for _, p := range d.packages {
		if err := writeShared(ctx, &o, p); err != nil {
			return err
		}
	}
	return nil
}
