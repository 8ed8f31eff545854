// Command manual writes the man pages and shell completions of the three programs.
// It takes them from the programs themselves: raidctl's tree of commands, and what
// the daemons answer to --help. What no program says of itself (files, exit
// statuses, signals) stands in pages/, around it. The pages of the configuration files
// are the files as they are installed, which describe each key.
//
//	manual -bin bin -out dist/build/share
//
// The pages carry the date of SOURCE_DATE_EPOCH, and are compressed without one.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	var c config
	flag.StringVar(&c.bin, "bin", "bin", "the `FOLDER` with raid-controller and raid-node for this machine")
	flag.StringVar(&c.out, "out", "dist/build/share", "write man/ and the completions into this `FOLDER`")
	flag.StringVar(&c.files, "files", "packaging", "the `FOLDER` with raid-controller.toml and raid-node.toml")
	flag.StringVar(&c.version, "version", "", "the `VERSION` that the pages are of")
	flag.Parse()
	err := c.setDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err == nil {
		err = run(c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

// config names what the pages are made of.
type config struct {
	bin, out string
	files    string // the folder with the configuration files as they are installed
	version  string
	date     string // as in 2026-11-26
}

func (c *config) setDate(epoch string) error {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("read SOURCE_DATE_EPOCH, the date of the pages: %w", err)
	}
	c.date = time.Unix(seconds, 0).UTC().Format(time.DateOnly)
	return nil
}

func run(c config) error {
	programs := []*program{describeTree()}
	for _, name := range []string{"raid-controller", "raid-node"} {
		p, err := describeDaemon(filepath.Join(c.bin, name))
		if err != nil {
			return err
		}
		programs = append(programs, p)
	}
	for _, p := range programs {
		text, err := p.page(c)
		if err != nil {
			return err
		}
		if err := writePage(c.out, p.name, p.section, text); err != nil {
			return err
		}
		if err := p.writeCompletions(c.out); err != nil {
			return err
		}
	}
	for _, name := range []string{"raid-controller", "raid-node"} {
		text, err := filePage(c, name)
		if err != nil {
			return err
		}
		if err := writePage(c.out, name+".toml", 5, text); err != nil {
			return err
		}
	}
	return nil
}
