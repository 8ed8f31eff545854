// Package catalogtest has the tests that every catalog passes, whatever engine it is made of.
//
// [Catalog] is the contract: what the packages of raidpi ask of a catalog, each in interfaces of its
// own, and what the controller asks beside. [Run] tries each of its methods: that what was written
// is durable, that lists are in order and cursors stand changes between two pages, that no id or
// attempt is given out twice, and that an error has changed nothing.
//
// A test opens a catalog in a folder, as each start of the controller does. What a killed process
// leaves is a copy of that folder, taken while the catalog is open and nothing is written.
package catalogtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/admission"
	"github.com/raidpi/raidpi/internal/events"
	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/object"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/reconcile"
	"github.com/raidpi/raidpi/internal/relocate"
	"github.com/raidpi/raidpi/internal/repair"
	"github.com/raidpi/raidpi/internal/trash"
	"github.com/raidpi/raidpi/internal/verify"
)

// Catalog has all methods that raidpi calls of a catalog.
type Catalog interface {
	object.Writer
	object.Index
	httpapi.Index
	httpapi.Tokens
	repair.Queue
	repair.Copies
	repair.Losses
	repair.Held
	repair.SurplusCopies
	reconcile.Catalog
	relocate.Record
	relocate.Wishes
	trash.Record
	trash.Files
	trash.Removals
	verify.Catalog
	admission.MemberStore
	events.Store
	controller
}

// controller has the methods that the controller itself calls.
type controller interface {
	// Array is the array's id, and Run the number of this start, from 1.
	Array() raid.ArrayID
	Run() uint32
	// Commit is the number of the last durable write. It only grows, over starts too.
	Commit() uint64
	// Knows reports whether a commit number is of this catalog's past, and Possible whether it may
	// be of its future. 0 means none.
	Knows(commit uint64) bool
	Possible(commit uint64) bool
	// ProveWith keeps the key with which commit numbers are proved; the first one stays. Prove makes
	// a proof, and Genuine checks one.
	ProveWith(ctx context.Context, key [32]byte) error
	Prove(commit uint64) raid.CommitMAC
	Genuine(commit raid.Commit) bool
	// AbandonUnfinished gives up the uploads of earlier runs, and ResolveIntents the copies that
	// were on their way.
	AbandonUnfinished(ctx context.Context) (uploads int, err error)
	ResolveIntents(ctx context.Context) (copies int, err error)
	SaveNode(ctx context.Context, r raid.NodeRecord) error
	Node(id raid.NodeID) (raid.NodeRecord, bool)
	// Remembers reports whether a node may hold something that the catalog knows of.
	Remembers(id raid.NodeID) bool
	NoteExpired(ctx context.Context) error
	TokenUsers(ctx context.Context, token string) (names []string, err error)
	FormerProgram() string
	// Reach counts what can be read with the nodes that are there, and Without without one of them.
	Reach(there func(raid.NodeID) bool, lab bool) raid.Reach
	Without(id raid.NodeID, there func(raid.NodeID) bool, lab bool) raid.ReachWithout
	CountSpread(ctx context.Context, files int) (more bool, err error)
	// WriterMoves and ReaderMoves fail, or wait, when nothing can be written, or read.
	WriterMoves(ctx context.Context) error
	ReaderMoves(ctx context.Context) error
	// Damaged is why the catalog may lack what was written; nil: it does not. Vouched is why nothing
	// may be removed on its word. Cleared is closed when it is no longer in doubt.
	Damaged() error
	Vouched() error
	Cleared() <-chan struct{}
	// Broken is closed when the outcome of a write is not known.
	Broken() <-chan struct{}
	Close() error
}

// Open opens the catalog in a folder, or makes one in an empty folder. Deleted files are kept for a
// day at least.
type Open func(dir string) (Catalog, error)

// Run runs all tests.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*harness){
		"a finished upload is a file":                      testUpload,
		"an upload that is given up leaves nothing":        testAbandon,
		"what an earlier run left is given up":             testUnfinished,
		"no id and no attempt is given out twice":          testIDs,
		"a repeated request finds its file":                testIdempotency,
		"files are listed in order":                        testList,
		"a list stands changes":                            testListUnderChange,
		"what was deleted can be put back":                 testTrash,
		"the trash goes, the oldest first":                 testDiscard,
		"removals are kept until they are done":            testRemovals,
		"bad copies are replaced":                          testRepair,
		"copies of a lost node become surplus":             testSurplus,
		"a walk sees each copy once":                       testWalks,
		"a walk stands changes":                            testWalksUnderChange,
		"what explains a chunk is known":                   testEvidence,
		"nodes are remembered":                             testNodes,
		"a node that is removed takes its copies with it":  testRemoveNode,
		"members and their keys are remembered":            testMembers,
		"access tokens are remembered":                     testAccess,
		"what can be read is counted":                      testReach,
		"events are written with what happens":             testEvents,
		"commit numbers only grow":                         testCommits,
		"what a call can't do changes nothing":             testErrors,
		"a killed process loses nothing that was answered": testCrash,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &harness{T: t, open: open, dir: t.TempDir(), ctx: t.Context()}
			h.start()
			t.Cleanup(func() {
				if err := h.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(h)
			select {
			case <-h.Broken():
				t.Error("the catalog calls itself broken")
			default:
			}
		})
	}
}

// harness is a test with its catalog.
type harness struct {
	*testing.T
	Catalog
	open Open
	dir  string
	ctx  context.Context
}

func (h *harness) start() {
	h.Helper()
	c, err := h.open(h.dir)
	if err != nil {
		h.Fatalf("open: %v", err)
	}
	h.Catalog = c
}

// restart ends the catalog as a controller does, and opens it anew.
func (h *harness) restart() {
	h.Helper()
	h.must(h.Close())
	h.start()
}

// kill opens what a process leaves that is killed now.
func (h *harness) kill() {
	h.Helper()
	left := h.TempDir()
	entries, err := os.ReadDir(h.dir)
	h.must(err)
	for _, e := range entries {
		if e.Type().IsRegular() {
			h.must(copyFile(filepath.Join(left, e.Name()), filepath.Join(h.dir, e.Name())))
		}
	}
	h.must(h.Close())
	h.dir = left
	h.start()
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (h *harness) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *harness) wants(err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Errorf("error %v, want %v", err, want)
	}
}

const (
	partLength = 50
	stripeSize = 2 * partLength
	created    = "2026-01-02 03:04:05"
)

// nodeN is one of four nodes.
func nodeN(n int64) raid.NodeID { return raid.NodeID(fmt.Sprintf("n%d", n%4)) }

// fresh is an upload of so many stripes that is not known to the catalog yet. Part p of stripe s has
// its copies on nodes s+p and s+p+1.
func (h *harness) fresh(stripes int64) raid.FinishedUpload {
	h.Helper()
	id, err := h.NextID(h.ctx)
	h.must(err)
	upload, err := raid.NewUploadID(h.Catalog.Run(), rand.Reader)
	h.must(err)
	f := raid.FinishedUpload{File: raid.File{
		ID: id, Upload: upload, Filename: fmt.Sprintf("file %d.jpg", id), ContentType: "image/jpeg", Created: created,
		Size: stripes*stripeSize - 1, Level: "raid1", StripeSize: stripeSize, Stripes: stripes, SHA256: [32]byte{1, 31: 2},
	}}
	for s := range stripes {
		for p := range int64(2) {
			f.Parts = append(f.Parts, raid.Part{Stripe: s, Number: int(p) + 1, Length: partLength, CRC: uint32(s)<<8 | uint32(p), Copies: []raid.Copy{
				{Index: 1, Attempt: 1, Node: nodeN(s + p)}, {Index: 2, Attempt: 2, Node: nodeN(s + p + 1)},
			}})
		}
	}
	return f
}

// store makes a file of so many stripes.
func (h *harness) store(stripes int64) raid.File {
	h.Helper()
	f, err := h.Finish(h.ctx, h.fresh(stripes))
	h.must(err)
	return f
}

// begin begins an upload of so many stripes.
func (h *harness) begin(stripes int64) raid.FinishedUpload {
	h.Helper()
	f := h.fresh(stripes)
	f.Begun = true
	h.must(h.Begin(h.ctx, raid.File{ID: f.File.ID, Upload: f.File.Upload, Level: "raid1", StripeSize: stripeSize}))
	return f
}

// sweep makes removals of all that is going.
func (h *harness) sweep() {
	h.Helper()
	for more := true; more; {
		var err error
		more, err = h.Sweep(h.ctx, 3)
		h.must(err)
	}
}

// removals are the chunks that wait for their removal, over all nodes, in order.
func (h *harness) removals() (all []string) {
	h.Helper()
	counts, err := h.RemovalCounts(h.ctx)
	h.must(err)
	for node, n := range counts {
		found, err := h.Removals(h.ctx, node, 10_000)
		h.must(err)
		if int64(len(found)) != n {
			h.Errorf("node %s has %d removals, counted as %d", node, len(found), n)
		}
		for _, r := range found {
			all = append(all, nameOf(r.Node, r.Key))
		}
	}
	slices.Sort(all)
	return all
}

func nameOf(n raid.NodeID, k raid.ChunkKey) string { return string(k.Name()) + " on " + string(n) }

// chunksOf are the chunks of parts as removals writes them.
func chunksOf(u raid.UploadID, parts []raid.Part) (all []string) {
	for _, p := range parts {
		for _, c := range p.Copies {
			all = append(all, nameOf(c.Node, p.Key(u, c)))
		}
	}
	slices.Sort(all)
	return all
}

func (h *harness) ids(q raid.FileQuery) (ids []raid.FileID) {
	h.Helper()
	for f, err := range h.Files(h.ctx, q) {
		h.must(err)
		ids = append(ids, f.ID)
	}
	return ids
}

func (h *harness) trashed(q raid.FileQuery) (ids []raid.FileID) {
	h.Helper()
	for f, err := range h.Trash(h.ctx, q) {
		h.must(err)
		ids = append(ids, f.File.ID)
	}
	return ids
}

func (h *harness) parts(f raid.File) []raid.Part {
	h.Helper()
	parts, err := h.Parts(h.ctx, f.ID, 0, f.Stripes)
	h.must(err)
	return parts
}

func everywhere(raid.NodeID) bool { return true }

// countAll has all files counted for Reach and Resting.
func (h *harness) countAll() {
	h.Helper()
	for more := true; more; {
		var err error
		more, err = h.CountSpread(h.ctx, 100)
		h.must(err)
	}
}
