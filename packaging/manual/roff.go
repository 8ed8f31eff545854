package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed pages
var pages embed.FS

// page is the program's man page, in the macros of man(7).
func (p *program) page(c config) (string, error) {
	return fill(fmt.Sprintf("%s.%d", p.name, p.section), map[string]string{
		"Header":   header(p.name, p.section, c),
		"Options":  optionList(p.options),
		"Commands": p.commandList(),
	})
}

// fill puts what was generated into the text around it.
func fill(name string, data map[string]string) (string, error) {
	t, err := template.New(name).ParseFS(pages, "pages/"+name)
	if err != nil {
		return "", fmt.Errorf("read the text of %s: %w", name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return b.String(), nil
}

// header begins a page.
func header(name string, section int, c config) string {
	manual := map[int]string{1: "User Commands", 5: "File Formats", 8: "System Administration"}[section]
	return fmt.Sprintf(".TH %s %d %s %s %s\n.nh\n.ad l", quoted(strings.ToUpper(name)), section, quoted(c.date), quoted(strings.TrimSpace("raidpi "+c.version)), quoted(manual))
}

// commandList has a heading for each command, and its flags below.
func (p *program) commandList() string {
	var b strings.Builder
	for _, c := range p.commands {
		fmt.Fprintf(&b, ".SS %s\n%s\n", quoted(p.name+" "+c.synopsis), roff(c.text))
		b.WriteString(optionList(c.options))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func optionList(options []option) string {
	var b strings.Builder
	for _, o := range options {
		b.WriteString(".TP\n")
		names := `\fB\-\-` + escape(o.name) + `\fR`
		if o.short != "" {
			names = `\fB\-` + escape(o.short) + `\fR, ` + names
		}
		if o.value != "" {
			names += ` \fI` + escape(o.value) + `\fR`
		}
		b.WriteString(names + "\n" + roff(o.text) + "\n")
	}
	return b.String()
}

// roff writes plain text as lines of a page. An empty line is a new paragraph, and lines that begin
// with spaces are kept as they are.
func roff(text string) string {
	var out []string
	kept := false
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if indented := strings.HasPrefix(line, "  "); indented != kept {
			out = append(out, map[bool]string{true: ".nf", false: ".fi"}[indented])
			kept = indented
		}
		if strings.TrimSpace(line) == "" {
			line = ".P"
		} else if line = escape(line); line[0] == '.' {
			line = `\&` + line
		}
		out = append(out, line)
	}
	if kept {
		out = append(out, ".fi")
	}
	return strings.Join(out, "\n")
}

// escape keeps roff from reading anything into a text. A dash is one that can be
// copied into a shell, as are quotes.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// quoted is a text as one argument of a macro.
func quoted(s string) string { return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"` }

// writePage writes a compressed page to where man(1) looks for it.
func writePage(out, name string, section int, text string) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression) // its header has no time and no name
	if err == nil {
		_, err = z.Write([]byte(text))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return fmt.Errorf("compress the page %s: %w", name, err)
	}
	return write(filepath.Join(out, "man", fmt.Sprintf("man%d", section), fmt.Sprintf("%s.%d.gz", name, section)), b.Bytes())
}

func write(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make a folder for %s: %w", filepath.Base(path), err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
