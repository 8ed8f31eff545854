package house

import (
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A Pi has no battery for its clock and starts in 1970. So decisions use the monotonic time since
// something that the same process saw. These read, make or compare times of day or of files.
var (
	dayMethods   = []string{"ModTime", "Unix", "UnixNano", "UnixMilli", "UnixMicro", "UTC", "Local", "In", "AddDate", "YearDay", "Year", "Weekday"}
	dayFunctions = []string{
		"time.Parse", "time.ParseInLocation", "time.Date", "time.Unix", "time.UnixMilli", "time.UnixMicro",
		"os.Chtimes", "http.ParseTime", "syscall.Stat_t", "unix.Stat_t",
	}
	dayInSQL = regexp.MustCompile(`(?i)\b(current_(time|date|timestamp)|(date|time|datetime|julianday|unixepoch|strftime|timediff)\s*\()`)
)

// dayAllowed are the files that may use some of these, and for what. None of it decides anything,
// with two exceptions. One is the end of REST tokens, which people set in days. The other is the
// age of nodes' keys, which lasts over restarts.
var dayAllowed = map[string]struct {
	uses []string
	why  string
}{
	"internal/catalog/walltime.go":      {[]string{"time.Parse", "UTC"}, "when REST tokens expire and nodes' keys are renewed: never by a clock that has gone back"},
	"internal/catalog/events.go":        {[]string{"UTC"}, "when an event happened, for people"},
	"internal/raidctl/events.go":        {[]string{"time.Parse", "UTC"}, "which events a person asks for, by the time that they show"},
	"internal/raid/event.go":            {[]string{"UTC"}, "the same"},
	"internal/catalog/progress.go":      {[]string{"ModTime"}, "whether a file was written between two looks: compared for being another one, never for being later"},
	"internal/catalog/ballast.go":       {[]string{"syscall.Stat_t"}, "how many blocks a file has; its times are not looked at"},
	"internal/chunkstore/mount.go":      {[]string{"unix.Stat_t"}, "which disk a folder is on; its times are not looked at"},
	"internal/node/wear.go":             {[]string{"unix.Stat_t"}, "the same"},
	"internal/catalog/upload.go":        {[]string{"UTC"}, "created, of a file without one, for people"},
	"internal/object/upload.go":         {[]string{"UTC"}, "created, for people"},
	"internal/controller/rest.go":       {[]string{"UTC"}, "when a clone was last refused, for people"},
	"internal/membership/sight.go":      {[]string{"UTC"}, "when a node was last seen, for people, of whom some look after a restart"},
	"internal/scrub/scrub.go":           {[]string{"Unix"}, "when a pass began, for people"},
	"internal/verify/verify.go":         {[]string{"time.Unix", "UTC"}, "when a node read its chunks, for people"},
	"internal/httpapi/status.go":        {[]string{"UTC"}, "when a node was last seen, for people"},
	"internal/httpapi/lastmodified.go":  {[]string{"time.Parse"}, "Last-Modified and its conditions, for caches: under its id a file never changes"},
	"internal/httpserver/conditions.go": {[]string{"http.ParseTime"}, "the same"},
	"internal/service/built.go":         {[]string{"time.Parse"}, "the day of the build, which shows that a clock is wrong"},
	"packaging/release/main.go":         {[]string{"time.Unix", "UTC"}, "the moment of the sources, which everything in a release is dated with"},
	"packaging/main.go":                 {[]string{"time.Unix", "UTC"}, "what packages are dated with, which is told by -epoch"},
	"packaging/manual/main.go":          {[]string{"time.Unix", "UTC"}, "what man pages are dated with, which is told by SOURCE_DATE_EPOCH"},
	"internal/identity/cert.go":         {[]string{"time.Date", "UTC"}, "constants: from when to when certificates are valid, and the fixed moment that stands for now"},
}

func TestNothingIsDecidedByTheTimeOfDayOrOfAFile(t *testing.T) {
	used := map[string]bool{}
	for _, f := range all(t).files {
		if f.isTest() || f.generated || strings.HasPrefix(f.dir(), "test/") {
			continue
		}
		if found := dayInSQL.FindString(sqlIn(f)); found != "" {
			t.Errorf("%s has %q in its SQL", f.path, found)
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name, full := sel.Sel.Name, ""
			if pkg, ok := sel.X.(*ast.Ident); ok {
				full = pkg.Name + "." + name
			}
			switch {
			case slices.Contains(dayFunctions, full):
				name = full
			case !slices.Contains(dayMethods, name):
				return true
			}
			used[f.path] = true
			if !slices.Contains(dayAllowed[f.path].uses, name) {
				t.Errorf("%s uses %s: decide by time.Since, which is monotonic", f.path, name)
			}
			return true
		})
	}
	for path, allowed := range dayAllowed {
		if !used[path] {
			t.Errorf("%s may use %v (%s) and does not", path, allowed.uses, allowed.why)
		}
	}
}

// sqlIn is the text of a file's string literals.
func sqlIn(f *file) string {
	var all strings.Builder
	ast.Inspect(f.File, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			all.WriteString(lit.Value + "\n")
		}
		return true
	})
	return all.String()
}

func TestNoMigrationAsksForTheTimeOfDay(t *testing.T) {
	seen := 0
	err := fs.WalkDir(os.DirFS(filepath.Join("..", "..")), "internal", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".sql" {
			return err
		}
		seen++
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if found := dayInSQL.Find(text); found != nil {
			t.Errorf("%s says %q", name, found)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("%d SQL files, %v", seen, err)
	}
}
