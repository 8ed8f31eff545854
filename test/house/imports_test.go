package house

import (
	"go/ast"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// order is the house from the roof to the ground. A package may import those
// below it, and no other package of ours. A new package gets its place here.
var order = []string{
	"packaging",         // packages of the programs, which it does not import
	"packaging/release", // archives, lists of modules, checksums
	"packaging/manual",  // man pages and completions, taken from the programs
	"cmd/raid-controller", "cmd/raid-node", "cmd/raidctl",
	"internal/controller",          // composition root of one daemon
	"internal/catalog/catalogtest", // what every catalog promises, for tests
	"internal/node",                // composition root of the other
	"internal/raidctl",
	"internal/client",
	"internal/httpapi",
	"internal/uploadbody", // a file out of a request's body
	"internal/object",
	"internal/reconcile", // what nodes hold against what they should
	"internal/trash",     // deleted files that can be put back
	"internal/repair",
	"internal/events",    // what happened, for people
	"internal/hook",      // runs a program for each event
	"internal/monitor",   // what changes about the array that people want to know
	"internal/relocate",  // which good copies are to be elsewhere
	"internal/verify",    // when chunks were last read, and what was bad
	"internal/admission", // who may be a node
	"internal/inventory", // what a node says that it holds
	"internal/membership",
	"internal/placement",
	"internal/hedge", // how long a node is waited for
	"internal/scrub", // a node's reading of all its chunks
	"internal/wear",  // what is written to a node's disk, and how worn it is
	"internal/catalog",
	"internal/chunkstore/faultfs", // a file system that fails on purpose, for tests
	"internal/chunkstore",
	"internal/chunkstore/trailerpb",
	"internal/wire",
	"internal/wire/wirepb",
	"internal/zmtp",
	"internal/zmtp/memnet", // an in-memory network, for tests
	"internal/budget",
	"internal/pace",      // background work gives way to requests
	"internal/allowance", // what one peer may cost
	"internal/config",
	"internal/service/unit", // a daemon as systemd runs it, for tests
	"internal/service",
	"internal/httpserver",     // connections, requests and answers of HTTP
	"internal/peercred",       // whose program is at the other end of a connection
	"internal/mdns",           // names ending in .local
	"internal/identity",       // keys and certificates
	"internal/address",        // where a controller is, as people write it
	"internal/reason/insider", // programmers' words, for tests
	"internal/reason",         // why a connection failed, in a person's words
	"internal/stripe/xor",     // a level of three parts, for tests
	"internal/stripe",         // how a stripe becomes parts, and a stripe again
	"internal/raid",           // the vocabulary
	"test/kit",                // what tests of many packages need
}

func TestImportsRunDownwards(t *testing.T) {
	place := map[string]int{}
	for i, p := range order {
		place[p] = i
	}
	for _, f := range all(t).files {
		if strings.HasPrefix(f.dir(), "test/") {
			continue
		}
		from, known := place[f.dir()]
		if !known {
			t.Errorf("%s: package %s has no place in the house yet: put it into the order", f.path, f.dir())
			continue
		}
		for _, p := range f.imported() {
			dir, ours := strings.CutPrefix(p, module+"/")
			if !ours || f.isOutside() && (dir == f.dir() || strings.HasPrefix(dir, f.dir()+"/")) {
				continue // a test from outside imports its own package, and tools for its tests
			}
			if to, ok := place[dir]; !ok || to <= from {
				t.Errorf("%s imports %s, which is not below %s", f.path, dir, f.dir())
			}
		}
	}
}

// insiders are the packages of tests that are made of the programs' own parts.
var insiders = []string{
	"test/bench/inside", // what can't be measured or made from outside
	"test/liar",         // a node but for its honesty
	"test/sim",          // a whole array in one process
}

// The end-to-end tests, the demo and the benchmark know the programs from
// outside alone: by their configuration, their REST interface and their files.
func TestWhatTestsFromOutsideImportsNothingFromInside(t *testing.T) {
	for _, f := range all(t).files {
		if !strings.HasPrefix(f.dir(), "test/") || slices.Contains(insiders, f.dir()) {
			continue
		}
		for _, p := range f.imported() {
			if strings.HasPrefix(p, module+"/internal/") {
				t.Errorf("%s imports %s", f.path, p)
			}
		}
	}
}

// What makes packages stays out of the packages.
func TestProgramsLinkNoPackager(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list what the programs link: %v", err)
	}
	for dep := range strings.Lines(string(out)) {
		if strings.HasPrefix(dep, "github.com/goreleaser/") || strings.HasPrefix(dep, module+"/packaging") {
			t.Errorf("a program links %s", strings.TrimSpace(dep))
		}
	}
}

// A lab peer is told by its id's type. Only internal/raid knows how such an id looks.
func TestOnlyTheVocabularyKnowsHowALabIDLooks(t *testing.T) {
	for _, f := range all(t).files {
		if f.isTest() || f.generated || f.dir() == "internal/raid" || strings.HasPrefix(f.dir(), "test/") {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && strings.HasPrefix(l.Value, `"lab-`) {
				t.Errorf("%s has %s: use raid.LabID, or NodeID.IsLab", f.path, l.Value)
			}
			return true
		})
	}
}

// knowCatalog may import the catalog's engine: who puts the parts together, and the programs. All
// others say in interfaces of their own what they need of it, with types of raid.
var knowCatalog = []string{"internal/catalog", "internal/controller", "cmd/raid-controller"}

func TestOnlyWhoPutsThePartsTogetherKnowsTheCatalogsEngine(t *testing.T) {
	for _, f := range all(t).files {
		if f.isTest() || strings.HasPrefix(f.dir(), "test/") || strings.HasPrefix(f.dir(), "internal/catalog/") || slices.Contains(knowCatalog, f.dir()) {
			continue
		}
		if slices.Contains(f.imported(), module+"/internal/catalog") {
			t.Errorf("%s imports internal/catalog: declare an interface there, with types of internal/raid", f.path)
		}
	}
}

// pure packages compute and do nothing else; this is all they may import
// beside each other. io is there for its interfaces.
var (
	pure        = []string{"internal/raid", "internal/stripe", "internal/placement"}
	pureImports = []string{
		"bytes", "cmp", "crypto/sha256", "encoding/binary", "encoding/hex", "errors", "fmt", "hash", "hash/crc32",
		"io", "iter", "maps", "math", "math/bits", "math/rand/v2", "slices", "sort", "strconv", "strings", "time",
		"unicode", "unicode/utf8", "unsafe",
	}
)

func TestPurePackagesDoNoIO(t *testing.T) {
	for _, f := range all(t).files {
		if !slices.Contains(pure, f.dir()) || f.isTest() {
			continue
		}
		for _, p := range f.imported() {
			if !slices.Contains(pureImports, p) && !slices.Contains(pure, strings.TrimPrefix(p, module+"/")) {
				t.Errorf("%s imports %s: %s is pure", f.path, p, f.dir())
			}
		}
	}
}

func TestVocabularyImportsTheStandardLibraryAlone(t *testing.T) {
	for _, f := range all(t).files {
		if f.dir() != "internal/raid" {
			continue
		}
		for _, p := range f.imported() {
			if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", f.path, p)
			}
		}
	}
}

// Keys are handled by the standard library's crypto, and by nothing of ours that
// could carry them elsewhere.
func TestIdentityImportsTheStandardLibraryAndTheVocabulary(t *testing.T) {
	for _, f := range all(t).files {
		if f.dir() != "internal/identity" {
			continue
		}
		for _, p := range f.imported() {
			if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") && p != module+"/internal/raid" {
				t.Errorf("%s imports %s", f.path, p)
			}
		}
	}
}

// What asks strangers for addresses knows nothing that they could be told.
func TestMulticastDNSImportsTheStandardLibraryAlone(t *testing.T) {
	for _, f := range all(t).files {
		if f.dir() != "internal/mdns" || f.isTest() {
			continue
		}
		for _, p := range f.imported() {
			if first, _, _ := strings.Cut(p, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", f.path, p)
			}
		}
	}
}

// A node and the command line are small and start fast; a database has no
// business in them.
func TestNodeAndCommandLineLinkNoDatabase(t *testing.T) {
	for _, program := range []string{"raid-node", "raidctl"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/"+program)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("list what %s links: %v", program, err)
		}
		for dep := range strings.Lines(string(out)) {
			dep = strings.TrimSpace(dep)
			if strings.HasPrefix(dep, "modernc.org/") || dep == "database/sql" || dep == module+"/internal/catalog" {
				t.Errorf("%s links %s", program, dep)
			}
		}
	}
}
