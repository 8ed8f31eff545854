// Command release makes what a release has beside the Debian packages. These are archives with
// raidctl for laptops, a list of what is linked into each program (CycloneDX), and the checksums of
// everything.
//
// .goreleaser.yaml says what is in the archives and for which systems they are. goreleaser
// understands it too. The programs are built before, by make: those of the packages in
// DIST/build/ARCH, those of the archives in DIST/build/OS_ARCH. The same sources give the same
// bytes.
//
// With -sbom PROGRAM it lists the modules of that one alone, for goreleaser.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	version string
	moment  time.Time // of everything
	dist    string
}

func run(args []string, stdout io.Writer) error {
	var o options
	fs := flag.NewFlagSet("release", flag.ContinueOnError)
	fs.StringVar(&o.version, "version", "", "the `VERSION` that the programs were built with")
	epoch := fs.Int64("epoch", -1, "the `SECONDS` since 1970 that all is dated with")
	fs.StringVar(&o.dist, "dist", "dist", "the `FOLDER` with the packages, for all that is made here")
	one := fs.String("sbom", "", "list the modules of this `PROGRAM`, and do nothing else")
	output := fs.String("output", "", "write that list into this `FILE`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.version == "" || *epoch < 0 {
		return errors.New("-version and -epoch say what is made")
	}
	o.moment = time.Unix(*epoch, 0).UTC()
	if *one != "" {
		return o.listOne(*one, *output, stdout)
	}
	d, err := readDescription(".goreleaser.yaml")
	if err != nil {
		return err
	}
	products, err := packages(&o)
	if err != nil {
		return err
	}
	for _, t := range d.targets {
		name, err := d.archive(&o, t)
		if err != nil {
			return fmt.Errorf("make the archive for %s: %w", t.folder(), err)
		}
		products = append(products, name)
	}
	lists, err := listModules(&o, d.targets)
	if err != nil {
		return err
	}
	return writeChecksums(&o, append(products, lists...), stdout)
}

// keyring is the package of the repository's key. It is made with the repository and is no part of
// a release: a throwaway key may be in it.
const keyring = "raid-archive-keyring_"

// packages are the Debian packages of this version that were built before.
func packages(o *options) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(o.dist, "*_"+o.version+"-1_*.deb"))
	var names []string
	for _, path := range found {
		if name := filepath.Base(path); !strings.HasPrefix(name, keyring) {
			names = append(names, name)
		}
	}
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("there are no packages of version %s in %s: make deb", o.version, o.dist)
	}
	return names, err
}
