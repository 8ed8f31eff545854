package main

// bug is a mistake that somebody could make.
type bug struct {
	name  string
	edits []edit
}

// edit replaces what is there once in a file.
type edit struct{ file, old, new string }

// bugs are planted one at a time. Each breaks a rule that something of the code is there
// for.
var bugs = []bug{
	{"a node acknowledges before fsync", []edit{{"internal/chunkstore/write.go",
		"if err := f.Sync(); err != nil {\n\t\tf.Close()\n\t\treturn s.fail(\"fsync file\", err)",
		"if err := error(nil); err != nil {\n\t\tf.Close()\n\t\treturn s.fail(\"fsync file\", err)"}}},
	{"rename without fsync of the directory", []edit{{"internal/chunkstore/write.go",
		"if err := d.flush(s.fs, change); err != nil {\n\t\treturn true, s.fail(\"fsync directory\", err)",
		"if _ = change; err != nil {\n\t\treturn true, s.fail(\"fsync directory\", err)"}}},
	{"a node says that a chunk is gone before that is durable", []edit{{"internal/chunkstore/delete.go",
		"if err := d.flush(s.fs, change); err != nil {", "if err := error(nil); err != nil {"}}},
	{"a chunk is written in its place, and not beside it", []edit{{"internal/chunkstore/write.go",
		"\ttmp := join(tmpDir, strconv.FormatInt(s.tmp.Add(1), 10))\n", "\ttmp := path + strconv.Itoa(0)[1:] + \"~\"\n"}}},
	{"a commit is acknowledged before it is flushed", []edit{{"internal/catalog/open.go", `"synchronous = FULL"`, `"synchronous = NORMAL"`}}},
	{"a surplus copy is removed before the others are verified", []edit{{"internal/repair/surplus.go",
		"\t\treturn r.readOthers(ctx, f, &out)\n", "\t\treturn &out, nil\n"}}},
	{"repair trusts a stale list", []edit{
		{"internal/catalog/repair.go",
			"WHERE file = ? AND stripe = ? AND part = ? AND copy = ? AND attempt = ? AND node IS ?`,",
			"WHERE file = ? AND stripe = ? AND part = ? AND copy = ? AND ? > 0 AND coalesce(?, 1) <> 0`,"}}},
	{"the chunk that a copy replaces is not recorded for removal", []edit{{"internal/catalog/surplus.go",
		"\treturn t.recordRemovals([]raid.Removal{{Node: old.Node, Key: p.Key(upload, old)}})\n}\n\n// sweepSurplus", "\treturn nil\n}\n\n// sweepSurplus"}}},
	{"chunks of an upload that came to nothing are not recorded", []edit{{"internal/object/upload.go",
		"up.s.cfg.Writer.Abandon(ctx, up.file, removals)", "up.s.cfg.Writer.Abandon(ctx, up.file, removals[:0])"}}},
	{"the fence of an older catalog is skipped", []edit{{"internal/membership/membership.go",
		"\tdefer m.mu.Unlock()\n\treturn m.stale\n", "\tdefer m.mu.Unlock()\n\treturn nil\n"}}},
	{"bytes are served without their checksum", []edit{
		{"internal/object/fetch.go", "!= res.Blocks[block] {", "!= res.Blocks[block] && block < 0 {"},
		{"internal/chunkstore/read.go", "\tif err := checkBlocks(c.meta.Blocks, r.Offset/raid.BlockSize, r.Dst); err != nil {",
			"\tif err := error(nil); err != nil {"}}},
	{"two copies on one node are not mended", []edit{{"internal/catalog/parts.go", "out[i] = copyColocated", "out[i] = copyOK"}}},
	{"a listing that ends early is taken for whole", []edit{{"internal/inventory/inventory.go",
		"l.over = !more || len(listed) == 0", "l.over = true || !more"},
		{"internal/repair/leftovers.go", "Limit: listBatch,", "Limit: 3,"}}},
	{"a part is not repaired when its last good copy was surplus", []edit{{"internal/repair/surplus.go",
		"if isOtherBad(&all[i]) {", "if isOtherBad(&all[i]) && i < 0 {"}}},
	{"a drain does not wait for uploads that chose the node before", []edit{{"internal/relocate/drain.go",
		"over := w.over() // before", "over := w.over() || true // before"}}},
	{"a drain does not wait for a copy that is on its way", []edit{{"internal/relocate/drain.go",
		"\tcase coming:\n", "\tcase coming && !over:\n"}}},
}
