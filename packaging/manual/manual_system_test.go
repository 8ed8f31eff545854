//go:build system

package main

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	config5 "github.com/raidpi/raidpi/internal/config"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raidctl"
	"github.com/raidpi/raidpi/internal/service"
)

// share is where the pages and completions of this source are, made once, and bin
// the programs.
var share, bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "manual")
	if err == nil {
		share, bin = filepath.Join(dir, "share"), filepath.Join(dir, "bin")
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin+"/", "../../cmd/raid-controller", "../../cmd/raid-node", "../../cmd/raidctl")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as they are shipped
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		err = cmd.Run()
	}
	if err == nil {
		err = run(config{bin: bin, out: share, files: "..", version: "1.2.3", date: "2026-11-26"})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// source is a page as man(1) reads it.
func source(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join(share, "man", "man"+name[len(name)-1:], name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("%s is compressed with the time %v and the name %q: no two are the same", name, z.ModTime, z.Name)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// shown is a page as people see it, in one line, dashes as they are typed.
func shown(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", filepath.Join(share, "man", "man"+name[len(name)-1:], name+".gz"))
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=100", "GROFF_NO_SGR=1", "MANROFFOPT=-c")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("man %s: %v\n%s", name, err, complaints.String())
	}
	plain := regexp.MustCompile(".\b").ReplaceAll(out, nil)
	return strings.Join(strings.Fields(string(plain)), " ")
}

func TestEveryProgramHasAPageWithoutWarnings(t *testing.T) {
	for _, name := range []string{"raid-controller.8", "raid-node.8", "raidctl.1", "raid-controller.toml.5", "raid-node.toml.5"} {
		text := shown(t, name)
		if !strings.Contains(text, "raidpi 1.2.3") || !strings.Contains(text, "2026-11-26") || !strings.Contains(text, "SEE ALSO") {
			t.Errorf("%s has no version, date or end:\n%s", name, text)
		}
		if strings.Contains(source(t, name), "<no value>") {
			t.Errorf("%s has a hole", name)
		}
	}
}

// The flags come from the programs, by another way than the pages' own.
func TestPagesNameEveryFlagAndWord(t *testing.T) {
	page := shown(t, "raidctl.1")
	flags := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if flags++; f.Name != "help" && !strings.Contains(page, " --"+f.Name+" ") {
				t.Errorf("raidctl.1 leaves out --%s of %s", f.Name, c.CommandPath())
			}
		})
		if !c.HasSubCommands() && !strings.Contains(page, c.CommandPath()+" ") {
			t.Errorf("raidctl.1 leaves out %s", c.CommandPath())
		}
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(raidctl.Tree())
	for _, call := range []string{"raid-controller", "raid-node", "raid-node join", "raid-node leave", "raid-node reset-identity", "raid-node status"} {
		words := strings.Fields(call)
		page := shown(t, words[0]+".8")
		if !strings.Contains(page, call+" ") {
			t.Errorf("%s.8 leaves out %s", words[0], call)
		}
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, words[0]), append(words[1:], "--help")...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^ +-([a-z-]+)`).FindAllStringSubmatch(string(out), -1) {
			if flags++; !strings.Contains(page, " --"+name[1]+" ") {
				t.Errorf("%s.8 leaves out --%s of %s", words[0], name[1], call)
			}
		}
	}
	if flags < 30 {
		t.Errorf("only %d flags were looked for", flags)
	}
}

func TestPagesNameEveryExitStatus(t *testing.T) {
	daemon := []int{service.ExitOK, service.ExitFailed, service.ExitUsage, service.ExitConfig}
	wanted := map[string][]int{
		"raid-controller.8": daemon,
		"raid-node.8":       append(daemon, node.ExitUsage, node.ExitToken, node.ExitUnreachable, node.ExitAgain, node.ExitRefused, node.ExitSetRight),
	}
	text, err := os.ReadFile("../../docs/raidctl.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+)(?:, (\d+))? \|`).FindAllStringSubmatch(string(text), -1) {
		for _, digits := range row[1:] {
			var n int
			if _, err := fmt.Sscan(digits, &n); err == nil {
				wanted["raidctl.1"] = append(wanted["raidctl.1"], n)
			}
		}
	}
	if len(wanted["raidctl.1"]) < 11 {
		t.Errorf("docs/raidctl.md promises the exit statuses %v", wanted["raidctl.1"])
	}
	for name, statuses := range wanted {
		_, section, _ := strings.Cut(source(t, name), ".SH EXIT STATUS")
		section, _, _ = strings.Cut(section, "\n.SH ")
		for _, n := range statuses {
			if !regexp.MustCompile(fmt.Sprintf(`(?m)^\.BR? .*\b%d\b`, n)).MatchString(section) {
				t.Errorf("%s leaves out the exit status %d", name, n)
			}
		}
	}
}

func TestSameSourceMakesTheSamePages(t *testing.T) {
	again := t.TempDir()
	if err := run(config{bin: bin, out: again, files: "..", version: "1.2.3", date: "2026-11-26"}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "diff", "-r", share, again).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestPagesOfTheFilesDescribeEveryKey(t *testing.T) {
	for program, prefix := range map[string]string{"raid-controller": config5.ControllerPrefix, "raid-node": config5.NodePrefix} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), "--print-config").Output()
		if err != nil {
			t.Fatal(err)
		}
		page, section, keys := shown(t, program+".toml.5"), "", 0
		for line := range strings.Lines(string(out)) {
			if name, ok := strings.CutPrefix(line, "["); ok {
				section = strings.TrimSuffix(name, "]\n") + "_"
			}
			key, rest, ok := strings.Cut(line, " = ")
			if !ok {
				continue
			}
			keys++
			value, _, _ := strings.Cut(rest, "  #")
			entry := key + " = " + strings.TrimSpace(value) + " (" + prefix + strings.ToUpper(section+key) + ")"
			if !strings.Contains(page, entry) {
				t.Errorf("%s.toml.5 does not say %q", program, entry)
			}
		}
		if keys < 10 {
			t.Errorf("%s has %d keys only", program, keys)
		}
	}
}

func TestFileThatIsNotUnderstoodIsRefused(t *testing.T) {
	got, err := keyList("# About the file.\n\n# What it is.\n# Still.\n#a = \"x\"\n[s]\n#b_c = 7\n", "X_")
	want := ".SS \"At the top\"\n.TP\n\\fBa\\fR = \"x\" (\\fBX_A\\fR)\nWhat it is.\nStill.\n.SS \"[s]\"\n.TP\n\\fBb_c\\fR = 7 (\\fBX_S_B_C\\fR)\n.P"
	if err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"a = 1", "#a= 1", "#a = 1 # inline", "[s"} {
		if got, err := keyList(bad, ""); err == nil {
			t.Errorf("%q is read as %q", bad, got)
		}
	}
}

// complete returns what bash offers for a line whose last word is being typed. helper is the script
// of the package bash-completion, or /dev/null. The line's words are written as bash takes it
// apart, with a space wherever one stands.
func complete(t *testing.T, helper string, line ...string) []string {
	t.Helper()
	script := `
PATH=$1:$PATH; . "$2" || exit; shift 2
. "$1"; COMP_LINE=$2; shift 2
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
compopt() { :; }
f=$(complete -p "$1"); f=${f##*-F }
"${f%% *}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" || exit
printf '%s\n' "${COMPREPLY[@]%% *}"`
	whole := strings.NewReplacer(" = ", "=", " : ", ":").Replace(strings.Join(line, " "))
	args := append([]string{"-c", script, "bash", bin, helper, filepath.Join(share, "bash-completion", "completions", line[0]), whole}, line...)
	out, err := exec.CommandContext(t.Context(), "bash", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("complete %q: %v\n%s", line, err, out)
	}
	if strings.Contains(string(out), "not found") {
		t.Errorf("complete %q prints an error: %s", line, out)
	}
	return strings.Fields(string(out))
}

// helpers are a machine with the package bash-completion, and one without.
var helpers = map[string]string{"with bash-completion": "/usr/share/bash-completion/bash_completion", "without": "/dev/null"}

func TestBashCompletesWordsFlagsAndFiles(t *testing.T) {
	for name, helper := range helpers {
		t.Run(name, func(t *testing.T) { completesWordsFlagsAndFiles(t, helper) })
	}
}

func completesWordsFlagsAndFiles(t *testing.T, helper string) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine.toml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line string
		want []string
	}{
		{"raid-node ", []string{"join", "leave", "reset-identity", "status", "--check-config", "--new-disk"}},
		{"raid-node re", []string{"reset-identity"}},
		{"raid-node join --to", []string{"--token-file"}},
		{"raid-node leave --", []string{"--config", "--force", "--help"}},
		{"raid-node --log-level d", []string{"debug"}},
		{"raid-controller --ch", []string{"--check-config"}},
		{"raid-controller --config " + dir + "/m", []string{filepath.Join(dir, "mine.toml")}},
		{"raidctl up", []string{"upload"}},
		{"raidctl token cr", []string{"create"}},
		{"raidctl ls --fil", []string{"--filter"}},
		{"raidctl ls --filter = x --lim", []string{"--limit"}},
		{"raidctl ls --controller = https : //pi : 9000 --lim", []string{"--limit"}},
	} {
		got := complete(t, helper, strings.Split(c.line, " ")...)
		for _, w := range c.want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.TrimSuffix(g, "=") == w }) {
				t.Errorf("%q completes to %q, want %q among them", c.line, got, w)
			}
		}
	}
}

func TestCompletionsAreGoodShell(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(share, "bash-completion", "completions", "*"))
	if err != nil || len(scripts) != 3 {
		t.Fatalf("%q, %v", scripts, err)
	}
	for _, s := range scripts {
		if out, err := exec.CommandContext(t.Context(), "bash", "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", s, err, out)
		}
	}
	for path, first := range map[string]string{"zsh/vendor-completions/_raidctl": "#compdef raidctl\n", "fish/vendor_completions.d/raidctl.fish": "# fish completion for raidctl"} {
		if text, err := os.ReadFile(filepath.Join(share, path)); err != nil || !strings.HasPrefix(string(text), first) {
			t.Errorf("%s: %v, begins with %.40q", path, err, text)
		}
	}
}

func TestReadsFlagsAsPackageFlagPrintsThem(t *testing.T) {
	var help strings.Builder
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.SetOutput(&help)
	fs.Bool("a", false, "one letter")
	fs.String("file", "", "a `NAME` and\na second line")
	fs.Int("n", 7, "a number")
	fs.PrintDefaults()
	got, err := parseOptions("Usage: x [flags]\n" + help.String() + "\nWords:\n  x go   move\n")
	want := []option{
		{name: "a", text: "one letter"},
		{name: "file", value: "NAME", text: "a NAME and a second line"},
		{name: "n", value: "int", text: "a number (default 7)"},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"  -Odd thing\n", "  --two\n", "  -mute\n"} {
		if got, err := parseOptions(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func TestNothingInATextIsRoff(t *testing.T) {
	for text, want := range map[string]string{
		".SH x":           `\&.SH x`,
		"'quoted' \\fB":   `\(aqquoted\(aq \efB`,
		"a-b ~ ^ `":       `a\-b \(ti \(ha \(ga`,
		"one\n\ntwo":      "one\n.P\ntwo",
		"so:\n  ls\nthen": "so:\n.nf\n  ls\n.fi\nthen",
		"\n  last":        ".P\n.nf\n  last\n.fi",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q is written %q, want %q", text, got, want)
		}
	}
}

func TestDateOfThePagesIsTheSources(t *testing.T) {
	var c config
	if err := c.setDate("1795651200"); err != nil || c.date != "2026-11-26" {
		t.Errorf("%q, %v", c.date, err)
	}
	if err := c.setDate(""); err == nil {
		t.Error("without a date the pages would differ every day")
	}
}
