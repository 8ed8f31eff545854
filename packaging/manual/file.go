package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A configuration file as it is installed. It has sections. A key stands with its default, which is
// commented out, below the lines that explain it.
var (
	sectionLine = regexp.MustCompile(`^\[([a-z_]+)\]$`)
	keyLine     = regexp.MustCompile(`^#([a-z_]+) = ("[^"]*"|[^"#\s]+)$`)
	textLine    = regexp.MustCompile(`^#(?: (.*))?$`)
)

// filePage is the man page of a daemon's configuration file.
func filePage(c config, program string) (string, error) {
	name := program + ".toml"
	text, err := os.ReadFile(filepath.Join(c.files, name))
	if err != nil {
		return "", fmt.Errorf("read the keys of %s: %w", name, err)
	}
	keys, err := keyList(string(text), strings.ToUpper(strings.ReplaceAll(program, "-", "_"))+"_")
	if err != nil {
		return "", fmt.Errorf("read the keys of %s: %w", name, err)
	}
	return fill("file.5", map[string]string{
		"Header": header(name, 5, c), "Program": escape(program), "Keys": keys,
		"Prefix": strings.ToUpper(strings.ReplaceAll(program, "-", "_")) + "_",
	})
}

// keyList lists the keys of a file; a line that is not understood is an error. What
// stands above an empty line, as at the top of the file, is about no key.
func keyList(text, prefix string) (string, error) {
	var b strings.Builder
	b.WriteString(".SS \"At the top\"\n")
	section, about := "", []string(nil)
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line == "" {
			about = nil
		} else if m := sectionLine.FindStringSubmatch(line); m != nil {
			section = m[1] + "_"
			fmt.Fprintf(&b, ".SS %s\n", quoted("["+m[1]+"]"))
		} else if m := keyLine.FindStringSubmatch(line); m != nil {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR = %s (\\fB%s\\fR)\n%s\n", escape(m[1]), escape(m[2]), prefix+strings.ToUpper(section+m[1]), roff(strings.Join(about, "\n")))
			about = nil
		} else if m := textLine.FindStringSubmatch(line); m != nil {
			about = append(about, m[1])
		} else {
			return "", fmt.Errorf("line %d is neither a section, a key nor a comment: %s", i+1, line)
		}
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
