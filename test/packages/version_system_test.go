//go:build system

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// versionOf returns what packaging/version says in a folder.
func versionOf(t *testing.T, dir string) string {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("..", "..", "packaging", "version"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(script, "0.1.0")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("packaging/version: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestVersionIsTheTagOrSortsBeforeTheNextRelease(t *testing.T) {
	dir := t.TempDir()
	if got := versionOf(t, dir); got != "0.1.0~dev" {
		t.Errorf("without a history it is %s", got)
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Dir = dir
		// The day is Debian's, everywhere: here it is the 3rd already.
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE=2026-01-03T01:00:00+0900", "TZ=Asia/Tokyo")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q")
	change("one")
	git("add", "file")
	git("commit", "-q", "-m", "one")
	dev := versionOf(t, dir)
	if !regexp.MustCompile(`^0\.1\.0~dev20260102160000\.[0-9a-f]{8}$`).MatchString(dev) {
		t.Errorf("a commit without a tag is %s", dev)
	}
	run(t, "dpkg", "--compare-versions", dev+"-1", "lt", "0.1.0-1")
	git("tag", "v0.1.0")
	if got := versionOf(t, dir); got != "0.1.0" {
		t.Errorf("the tag v0.1.0 is %s", got)
	}
	change("two")
	if got := versionOf(t, dir); got != dev+".dirty" {
		t.Errorf("changed after the tag it is %s, want %s.dirty", got, dev)
	}
	run(t, "dpkg", "--compare-versions", dev+".dirty-1", "lt", "0.1.0-1")
}

// repository makes one with a commit, and returns git in it. when is
// the time of a commit.
func repository(t *testing.T) (dir string, git func(when string, args ...string)) {
	t.Helper()
	dir = t.TempDir()
	git = func(when string, args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE="+when)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("", "init", "-q")
	git("2026-01-03T01:00:00Z", "commit", "-q", "--allow-empty", "-m", "one")
	return dir, git
}

func TestLaterCommitsOfADaySortLater(t *testing.T) {
	dir, git := repository(t)
	before := versionOf(t, dir)
	for _, when := range []string{"01:00:01", "09:00:00", "10:00:00", "23:59:59"} {
		git("2026-01-03T"+when+"Z", "commit", "-q", "--allow-empty", "-m", when)
		after := versionOf(t, dir)
		run(t, "dpkg", "--compare-versions", before+".dirty-1", "lt", after+"-1")
		before = after
	}
}

// Go builds a file that was never committed, as it embeds and packages others.
func TestFilesThatWereNotCommittedMakeAVersionDirty(t *testing.T) {
	dir, git := repository(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".gitignore", "/dist\n")
	git("", "add", ".gitignore")
	git("2026-01-03T02:00:00Z", "commit", "-q", "-m", "two")
	write("dist", "")
	if got := versionOf(t, dir); strings.HasSuffix(got, ".dirty") {
		t.Errorf("with a file that is ignored it is %s", got)
	}
	git("", "tag", "v0.1.0")
	write("more.go", "package main\n")
	if got := versionOf(t, dir); !strings.HasSuffix(got, ".dirty") {
		t.Errorf("with a file that git does not have it is %s", got)
	}
}

func TestCandidatesSortBeforeTheirReleaseAndOtherTagsAreRefused(t *testing.T) {
	dir, git := repository(t)
	dev := versionOf(t, dir)
	git("", "tag", "v0.1.0-rc2")
	git("", "tag", "v0.1.0-rc10")
	git("", "tag", "other") // names no version, and does not try to
	got := versionOf(t, dir)
	if got != "0.1.0~rc10" {
		t.Errorf("v0.1.0-rc10 is %s", got)
	}
	run(t, "dpkg", "--compare-versions", got+"-1", "lt", "0.1.0-1")
	run(t, "dpkg", "--compare-versions", got+"-1", "gt", dev+"-1")
	git("", "tag", "v0.1.0")
	if got := versionOf(t, dir); got != "0.1.0" {
		t.Errorf("a release of its last candidate's commit is %s", got)
	}
	git("", "tag", "-d", "v0.1.0", "v0.1.0-rc2", "v0.1.0-rc10")
	for _, tag := range []string{"v0.1", "v0.1.0-beta1", "v0.1.0-rc", "v0.1.0-rc1-2", "v0.1.0.1", "v01.0.0", "v0.1.0+x"} {
		git("", "tag", tag)
		script, err := filepath.Abs("../../packaging/version")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(script, "0.1.0")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "the tag "+tag+" names no version") {
			t.Errorf("the tag %s: %v, %s", tag, err, out)
		}
		git("", "tag", "-d", tag)
	}
}

// goreleaser's flags of the compiler and make's are written down twice: they have to
// make the same programs.
func TestGoreleaserAndMakeBuildWithTheSameFlags(t *testing.T) {
	made := regexp.MustCompile(`(?m)^BUILD = CGO_ENABLED=0 \$\(GO\) build (.*) -ldflags "(.*)"$`).FindStringSubmatch(read(t, "../../Makefile"))
	description := read(t, "../../.goreleaser.yaml")
	flags := regexp.MustCompile(`(?m)^    flags: \[(.*)\]$`).FindStringSubmatch(description)
	ldflags := regexp.MustCompile(`(?m)^    ldflags: (.*)$`).FindStringSubmatch(description)
	if made == nil || flags == nil || ldflags == nil {
		t.Fatalf("the flags were not found: %q, %q, %q", made, flags, ldflags)
	}
	if got := strings.ReplaceAll(flags[1], ",", ""); got != made[1] {
		t.Errorf("goreleaser builds with %q, make with %q", got, made[1])
	}
	same := strings.NewReplacer("$(VERSION)", "{{ .Version }}", "$(BUILT)", "{{ slice .CommitDate 0 10 }}").Replace(made[2])
	if ldflags[1] != same {
		t.Errorf("goreleaser links with %q, make with %q", ldflags[1], same)
	}
}
