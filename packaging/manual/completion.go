package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/raidpi/raidpi/internal/raidctl"
)

// writeCompletions writes what each shell loads by itself when the program's name
// is typed.
func (p *program) writeCompletions(out string) error {
	bash := filepath.Join(out, "bash-completion", "completions", p.name)
	if p.tree == nil {
		return write(bash, []byte(p.bash()))
	}
	for path, generate := range map[string]func(*bytes.Buffer) error{
		bash: func(b *bytes.Buffer) error { return raidctl.WriteBash(p.tree, b) },
		filepath.Join(out, "zsh", "vendor-completions", "_"+p.name): func(b *bytes.Buffer) error { return p.tree.GenZshCompletion(b) },
		filepath.Join(out, "fish", "vendor_completions.d", p.name+".fish"): func(b *bytes.Buffer) error {
			return p.tree.GenFishCompletion(b, true)
		},
		filepath.Join(out, "powershell", p.name+".ps1"): func(b *bytes.Buffer) error { return p.tree.GenPowerShellCompletionWithDesc(b) },
	} {
		var b bytes.Buffer
		if err := generate(&b); err != nil {
			return fmt.Errorf("write the completion %s: %w", path, err)
		}
		if err := write(path, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// levels are the values that --log-level takes.
const levels = "debug info warn error"

// bash completes a daemon's words and flags, and the files that some flags take.
func (p *program) bash() string {
	function := "_" + strings.ReplaceAll(p.name, "-", "_")
	var words []string
	var b strings.Builder
	fmt.Fprintf(&b, "# bash completion for %s\n%s() {\n", p.name, function)
	b.WriteString("    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words\n    COMPREPLY=()\n")
	b.WriteString("    case $prev in\n")
	all := slices.Clone(p.options)
	for _, c := range p.commands {
		all = append(all, c.options...)
	}
	p.values(&b, all)
	b.WriteString("    esac\n    case ${COMP_WORDS[1]} in\n")
	for _, c := range p.commands {
		words = append(words, c.name)
		fmt.Fprintf(&b, "    %s) words=%q ;;\n", c.name, dashed(c.options, "help"))
	}
	fmt.Fprintf(&b, "    *)\n        words=%q\n", dashed(p.options, "help"))
	if len(words) > 0 {
		fmt.Fprintf(&b, "        [ \"$COMP_CWORD\" -gt 1 ] || words=\"%s $words\"\n", strings.Join(words, " "))
	}
	b.WriteString("        ;;\n    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\n")
	fmt.Fprintf(&b, "complete -F %s %s\n", function, p.name)
	return b.String()
}

// values completes what follows a flag; what nobody can guess stays empty.
func (p *program) values(b *strings.Builder, options []option) {
	done := map[string]bool{}
	for _, o := range options {
		if o.value == "" || done[o.name] {
			continue
		}
		done[o.name] = true
		action := ""
		switch o.value {
		case "FILE":
			action = `compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); `
		case "LEVEL":
			action = `mapfile -t COMPREPLY < <(compgen -W "` + levels + `" -- "$cur"); `
		}
		fmt.Fprintf(b, "    --%s | -%s) %sreturn ;;\n", o.name, o.name, action)
	}
}

// dashed are the flags as they are typed.
func dashed(options []option, more ...string) string {
	var all []string
	for _, o := range options {
		all = append(all, "--"+o.name)
	}
	for _, name := range more {
		all = append(all, "--"+name)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}
