package repair

// The catalog may be older than the nodes, as one from a backup is, or may have lost something. What
// is allowed then is asked here alone.

// isStale reports whether the catalog is known not to be the newest. That ends by a person's deed,
// and so nothing is tried again by itself.
func (r *Repairer) isStale() bool { return r.cfg.Nodes.StaleCatalog() != nil }

// mayWork reports whether the catalog can be believed. It is not stale then, and all nodes that
// could show that it is were heard, or waited for.
func (r *Repairer) mayWork() bool { return !r.isStale() && r.cfg.Nodes.WarmUp() <= 0 }

// mayRemove reports whether chunks may be removed on the catalog's word, too: each of its bytes was
// found to be what was written.
func (r *Repairer) mayRemove() bool { return r.mayWork() && r.cfg.Vouched() == nil }
