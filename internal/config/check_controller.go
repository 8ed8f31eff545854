package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of raid-controller.toml.
const (
	MinStripe       = StripeSize(64 * KiB)
	MaxStripe       = StripeSize(64 * MiB)
	MaxWholeFile    = 128 * MiB // each half travels as one message, of which wire takes 64 MiB
	MinCopies       = 2
	MaxCopies       = 4
	MaxRequestLimit = 10_000
	MaxNames        = 50
	MaxSettle       = Duration(10 * time.Minute)
	MinScrubEvery   = Duration(time.Hour)
	MaxDuration     = 3650 * Day
)

// check looks at what one value alone can't tell. These are ranges, and values that
// contradict each other or ask for what this version can't do.
func (c *Controller) check(r *report) {
	r.path("state_dir", c.StateDir)
	c.HTTP.check(r)
	c.Nodes.check(r)
	c.RAID.check(r)
	r.within("repair.grace", c.Repair.Grace, 0, MaxDuration)
	r.within("repair.scrub_every", c.Repair.ScrubEvery, MinScrubEvery, MaxDuration)
	r.within("trash.keep", c.Trash.Keep, 0, MaxDuration)
	c.Events.check(r)
	r.distinctListeners(
		listener{"http.listen", c.HTTP.Listen},
		listener{"nodes.store_listen", c.Nodes.StoreListen},
		listener{"nodes.response_listen", c.Nodes.ResponseListen},
		listener{"nodes.request_listen", c.Nodes.RequestListen},
	)
}

func (h *HTTP) check(r *report) {
	if h.Socket != "" {
		r.path("http.socket", h.Socket)
	}
	if len(h.Socket) > MaxSocket {
		r.bad("http.socket", "has %d bytes; a Unix socket's path has at most %d", len(h.Socket), MaxSocket)
	}
	if len(h.Names) > MaxNames {
		r.bad("http.names", "has %d names; at most %d are possible", len(h.Names), MaxNames)
	}
	for _, name := range h.Names {
		if err := checkHost(name); err != nil {
			r.bad("http.names", "%v", err)
		}
	}
	r.between("http.max_requests", int64(h.MaxRequests), 1, MaxRequestLimit)
}

// check looks whether the program can be run. One that is missing is found now, and not
// when a disk dies.
func (e *Events) check(r *report) {
	const key = "events.exec"
	if e.Exec == "" {
		return
	}
	if !filepath.IsAbs(e.Exec) {
		r.bad(key, "%q is a relative path: write the whole path of the program, beginning with /, without arguments", e.Exec)
		return
	}
	st, err := os.Stat(e.Exec)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.bad(key, "there is no program %q. Arguments can't be given; under systemd /home and /root can't be seen", e.Exec)
	case err != nil:
		r.bad(key, "the program can't be looked at: %v", err)
	case !st.Mode().IsRegular():
		r.bad(key, "%q is no file", e.Exec)
	case unix.Access(e.Exec, unix.X_OK) != nil:
		r.bad(key, "%q can't be executed by this user: sudo chmod 755 %s", e.Exec, e.Exec)
	}
}

func (n *Nodes) check(r *report) {
	r.within("nodes.settle", n.Settle, 0, MaxSettle)
}

func (c *RAID) check(r *report) {
	r.between("raid.copies", int64(c.Copies), MinCopies, MaxCopies)
	if c.StripeSize != WholeFile && (c.StripeSize < MinStripe || c.StripeSize > MaxStripe) {
		r.bad("raid.stripe_size", `%s is out of range: %s to %s, or "file"`, c.StripeSize, MinStripe, MaxStripe)
	}
	if c.MaxWholeFile < 1 || c.MaxWholeFile > MaxWholeFile {
		r.bad("raid.max_whole_file", "%s is out of range: 1B to %s", c.MaxWholeFile, MaxWholeFile)
	}
}
