package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// describeDaemon asks a daemon's program what it takes, and each of its words.
func describeDaemon(path string) (*program, error) {
	p := &program{name: filepath.Base(path), section: 8}
	text, err := help(path)
	if err != nil {
		return nil, err
	}
	if p.options, err = parseOptions(text); err != nil {
		return nil, fmt.Errorf("read what %s --help says: %w", p.name, err)
	}
	p.commands = parseWords(p.name, text)
	for i := range p.commands {
		c := &p.commands[i]
		if text, err = help(path, c.name); err != nil {
			return nil, err
		}
		if c.options, err = parseOptions(text); err != nil {
			return nil, fmt.Errorf("read what %s %s --help says: %w", p.name, c.name, err)
		}
	}
	return p, nil
}

func help(path string, words ...string) (string, error) {
	cmd := exec.Command(path, append(words, "--help")...)
	cmd.Env = []string{} // nothing of the builder's
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its flags: %w", path, err)
	}
	return string(out), nil
}

// A flag as flag.PrintDefaults writes it: two spaces, the name, perhaps a value. Its description
// follows behind a tab, in the same line if the name is one letter.
var (
	flagLine = regexp.MustCompile(`^  -([a-z0-9-]+)(?: ([^\t]+))?(?:\t(.*))?$`)
	flagText = regexp.MustCompile(`^    \t(.*)$`)
)

// parseOptions reads the flags in a --help. One that can't be read is an error: it
// would be missing from the page.
func parseOptions(text string) ([]option, error) {
	var all []option
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := flagLine.FindStringSubmatch(line); m != nil {
			all = append(all, option{name: m[1], value: m[2], text: m[3]})
			continue
		}
		m := flagText.FindStringSubmatch(line)
		switch {
		case m != nil && len(all) > 0:
			last := &all[len(all)-1]
			last.text = strings.TrimSpace(last.text + " " + m[1])
		case strings.HasPrefix(strings.TrimSpace(line), "-"):
			return nil, fmt.Errorf("the line %q is no flag", line)
		}
	}
	for _, o := range all {
		if o.text == "" {
			return nil, fmt.Errorf("-%s does not say what it does", o.name)
		}
	}
	return all, nil
}

// parseWords reads the lines of a --help that tell what words the program takes:
// "  raid-node leave    take it out of its array".
func parseWords(program, text string) []command {
	var all []command
	for line := range strings.Lines(text) {
		call, ok := strings.CutPrefix(line, "  "+program+" ")
		if !ok {
			continue
		}
		synopsis, what, ok := strings.Cut(call, "  ")
		if !ok {
			continue
		}
		word, _, _ := strings.Cut(synopsis, " ")
		all = append(all, command{name: word, synopsis: synopsis, text: strings.TrimSpace(what)})
	}
	return all
}
