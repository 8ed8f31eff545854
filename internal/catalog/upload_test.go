package catalog

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestFinishedFileIsFoundAsItWasGiven(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	small, large := store(t, c, 1), store(t, c, 3)
	if len(small.NamesOf(1)) != 2 || len(small.NamesOf(2)) != 2 || large.NamesOf(1) != nil {
		t.Errorf("names %v %v, and %v of several stripes", small.NamesOf(1), small.NamesOf(2), large.NamesOf(1))
	}
	must(t, c.Close())
	c = openTest(t, path)
	for _, want := range []raid.File{small, large} {
		got, err := c.File(bg, want.ID)
		must(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("found %+v\nstored %+v", got, want)
		}
	}
	parts, err := c.Parts(bg, large.ID, 1, 3)
	must(t, err)
	if want := newParts(1, 3); !reflect.DeepEqual(parts, want) {
		t.Errorf("found %+v\nstored %+v", parts, want)
	}
}

func TestCreatedIsSetWhenItIsMissing(t *testing.T) {
	c := openTest(t, "")
	fin := newFile(t, c, 1)
	fin.File.Created = ""
	f, err := c.Finish(bg, fin)
	must(t, err)
	if len(f.Created) != len("2026-01-02 03:04:05") {
		t.Errorf("created %q", f.Created)
	}
}

func TestUploadInProgressIsNoFileUntilItIsFinished(t *testing.T) {
	c := openTest(t, "")
	fin := begin(t, c, 20)
	must(t, c.Append(bg, fin.File.ID, newParts(0, 10)))
	must(t, c.Append(bg, fin.File.ID, newParts(5, 15))) // some again
	_, err := c.File(bg, fin.File.ID)
	wants(t, err, raid.ErrNotFound)
	if files := listAll(t, c, raid.FileQuery{}); len(files) != 0 {
		t.Errorf("listed %v", files)
	}
	wants(t, c.Delete(bg, fin.File.ID), raid.ErrNotFound)
	parts, err := c.Parts(bg, fin.File.ID, 0, 20)
	must(t, err)
	if !reflect.DeepEqual(parts, newParts(0, 15)) {
		t.Errorf("%d parts of an upload in progress: %+v", len(parts), parts)
	}

	fin.Parts = newParts(14, 20) // the first of them was appended
	f, err := c.Finish(bg, fin)
	must(t, err)
	if got, err := c.File(bg, f.ID); err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("found %+v, %v\nstored %+v", got, err, f)
	}
	parts, err = c.Parts(bg, f.ID, 0, 20)
	must(t, err)
	if !reflect.DeepEqual(parts, newParts(0, 20)) {
		t.Errorf("%d parts: %+v", len(parts), parts)
	}
}

func TestBegunUploadOfOneStripeHasItsNames(t *testing.T) {
	c := openTest(t, "")
	fin := begin(t, c, 1)
	must(t, c.Append(bg, fin.File.ID, fin.Parts))
	want := namesOf(fin.File.Upload, fin.Parts)
	fin.Parts = nil
	f, err := c.Finish(bg, fin)
	must(t, err)
	if len(want) != 2 || !slices.EqualFunc(f.PartNames, want, slices.Equal) {
		t.Errorf("names %v, want %v", f.PartNames, want)
	}
}

func TestHalfAFileIsRefused(t *testing.T) {
	c := openTest(t, "")
	whole := newParts(0, 4)
	for name, parts := range map[string][]raid.Part{
		"a part is missing":        whole[:7],
		"the first is missing":     whole[1:],
		"the last stripe":          whole[:6],
		"one stripe too many":      newParts(0, 5),
		"none":                     nil,
		"a part twice, one absent": append(slices.Clone(whole[:7]), whole[0]),
		"a part of no copies":      append(slices.Clone(whole[:7]), raid.Part{Stripe: 3, Number: 2}),
		"attempt 0":                append(slices.Clone(whole[:7]), raid.Part{Stripe: 3, Number: 2, Copies: []raid.Copy{{Index: 1}}}),
	} {
		t.Run(name, func(t *testing.T) {
			fin := newFile(t, c, 4)
			fin.Parts = parts
			if f, err := c.Finish(bg, fin); err == nil {
				t.Errorf("stored %+v", f)
			}
			if name == "a part twice, one absent" || name == "a part of no copies" || name == "attempt 0" {
				return // Append refuses these, or writes the last
			}
			fin = begin(t, c, 4)
			if len(parts) > 0 {
				must(t, c.Append(bg, fin.File.ID, parts))
			}
			fin.Parts = nil
			if f, err := c.Finish(bg, fin); err == nil {
				t.Errorf("stored %+v", f)
			}
		})
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM upload WHERE state = 1"); n != 0 {
		t.Errorf("%d files", n)
	}
}

func TestAbandonedUploadGoesWithAllItsChunks(t *testing.T) {
	c := openTest(t, "")
	fin := begin(t, c, 4)
	must(t, c.Append(bg, fin.File.ID, newParts(0, 2)))
	stray := raid.Part{Stripe: 2, Number: 1, Copies: []raid.Copy{{Index: 1, Attempt: 7, Node: "n3"}}}
	must(t, c.Abandon(bg, fin.File, []raid.Removal{{Node: "n3", Key: stray.Key(fin.File.Upload, stray.Copies[0])}}))

	wants(t, c.Append(bg, fin.File.ID, newParts(2, 3)), raid.ErrPrecondition)
	_, err := c.Finish(bg, fin)
	wants(t, err, raid.ErrPrecondition)
	sweepAll(t, c, 3)
	want := chunksOf(fin.File.Upload, append(newParts(0, 2), stray))
	if got := removalsOf(t, c); !slices.Equal(got, want) {
		t.Errorf("to be removed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := sqlInt(t, c, "SELECT (SELECT count(*) FROM upload) + (SELECT count(*) FROM part) + (SELECT count(*) FROM chunk)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestAbandonLeavesACompleteFileAlone(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 2)
	var all []raid.Removal
	for _, p := range newParts(0, 2) {
		for _, cp := range p.Copies {
			all = append(all, raid.Removal{Node: cp.Node, Key: p.Key(f.Upload, cp)})
		}
	}
	must(t, c.Abandon(bg, f, all)) // such as after an answer that got lost
	must(t, c.Record(bg, all))
	if got := removalsOf(t, c); len(got) != 0 {
		t.Errorf("chunks of a file are to be removed: %v", got)
	}
	if _, err := c.File(bg, f.ID); err != nil {
		t.Error(err)
	}
}

func TestUploadsOfEarlierRunsAreAbandoned(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	old := begin(t, c, 2)
	must(t, c.Append(bg, old.File.ID, old.Parts))
	done := store(t, c, 1)
	must(t, c.Close())

	c = openTest(t, path)
	young := begin(t, c, 1)
	n, err := c.AbandonUnfinished(bg)
	must(t, err)
	if n != 1 {
		t.Errorf("%d uploads abandoned, want 1", n)
	}
	_, err = c.Finish(bg, old)
	wants(t, err, raid.ErrPrecondition)
	if _, err := c.Finish(bg, young); err != nil {
		t.Error(err)
	}
	if _, err := c.File(bg, done.ID); err != nil {
		t.Error(err)
	}
	sweepAll(t, c, 100)
	if got, want := removalsOf(t, c), chunksOf(old.File.Upload, old.Parts); !slices.Equal(got, want) {
		t.Errorf("to be removed %v, want %v", got, want)
	}
}

func TestFileOnTooFewNodesIsDegraded(t *testing.T) {
	c := openTest(t, "")
	for name, change := range map[string]func(*raid.FinishedUpload){
		"two copies on one node": func(f *raid.FinishedUpload) { f.Parts[1].Copies[1].Node = f.Parts[1].Copies[0].Node },
		"a bad copy":             func(f *raid.FinishedUpload) { f.Parts[0].Copies[0].Bad = true },
		"a lost node":            func(f *raid.FinishedUpload) { f.Lost = []raid.NodeID{"n1"} },
		"the caller says so":     func(f *raid.FinishedUpload) { f.File.Degraded = true },
	} {
		for _, begun := range []bool{false, true} {
			fin := newFile(t, c, 1)
			if begun {
				fin = begin(t, c, 1)
			}
			change(&fin)
			if begun {
				must(t, c.Append(bg, fin.File.ID, fin.Parts))
				fin.Parts = nil
			}
			f, err := c.Finish(bg, fin)
			must(t, err)
			got, err := c.File(bg, f.ID)
			must(t, err)
			if !f.Degraded || !got.Degraded {
				t.Errorf("%s, begun %v: degraded %v, stored %v", name, begun, f.Degraded, got.Degraded)
			}
		}
	}
	if n, _ := c.Counts(bg); n.Degraded != 8 {
		t.Errorf("%+v", n)
	}
	if f := store(t, c, 1); f.Degraded || f.Lab {
		t.Errorf("%+v", f)
	}
}

func TestFileOnLabNodesSaysSo(t *testing.T) {
	c := openTest(t, "")
	for _, node := range []raid.NodeID{"", "lab-10.0.0.7:41234"} {
		fin := newFile(t, c, 2)
		fin.Parts[3].Copies[1].Node = node
		fin.Parts[2].Copies[0].Node, fin.Parts[2].Copies[1].Node = node, node // perhaps two lab nodes
		f, err := c.Finish(bg, fin)
		must(t, err)
		got, err := c.File(bg, f.ID)
		must(t, err)
		parts, err := c.Parts(bg, f.ID, 1, 2)
		must(t, err)
		if !got.Lab || got.Degraded || parts[1].Copies[1].Node != "" || parts[1].Copies[0].Node == "" {
			t.Errorf("lab %v, %+v", got.Lab, parts[1])
		}
	}
}
