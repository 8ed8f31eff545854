//go:build nspawn

package pis

import (
	"slices"
	"strings"
	"time"
)

const (
	controllerConf = "/etc/raid-controller/raid-controller.toml"
	nodeConf       = "/etc/raid-node/raid-node.toml"
	nodeOwn        = "/etc/raid-node/conf.d/own.toml" // where the documents tell people to write
)

// upgrade installs the next version while files are stored: the controller first, and
// then one node after the other.
func (a *array) upgrade(files *traffic) {
	t := a.t
	a.controller.must(`sed -i 's/^#scrub_every = .*/scrub_every = "20d"/' ` + controllerConf + " && systemctl reload raid-controller")
	for i, pi := range a.pis {
		if i%2 == 0 {
			pi.must("echo '# what its owner wrote' >>" + nodeConf)
		} else {
			pi.must("echo 'log_level = \"info\" # what its owner wrote' >" + nodeOwn)
		}
	}
	off := a.pis[2]
	off.must("systemctl disable raid-node") // it still runs
	publishNext(a.all()...)

	files.despite(t, "the controller is upgraded", func() {
		start := time.Now()
		a.controller.must(keepIt + "apt install --only-upgrade raid-controller raidctl")
		t.Logf("apt upgraded the controller in %.1f s", time.Since(start).Seconds())
		a.active(a.controller, "raid-controller")
		a.whole(4) // all of them are of the version before
	})
	a.controller.isUpgraded("raid-controller")
	a.backup()
	for i, pi := range a.pis {
		answer := keepIt
		if i%2 == 1 {
			answer = "</dev/null " // nothing is asked
		}
		before := pi.property("raid-node", "MainPID")
		files.through(t, "a node is upgraded", func() {
			pi.must(answer + "apt install --only-upgrade raid-node")
			a.whole(4)
		})
		pi.isUpgraded("raid-node")
		if now := pi.property("raid-node", "MainPID"); now == before || now == "0" {
			t.Errorf("on %s process %s goes on after the upgrade, before it was %s", pi.Name, now, before)
		}
	}
	a.kept()
	if state, _ := off.all("systemctl is-enabled raid-node"); strings.TrimSpace(state) != "disabled" {
		t.Errorf("the unit that was disabled is %s after the upgrade", state)
	}
	off.must("systemctl enable --now raid-node")
	a.whole(4)
}

// keepIt answers what dpkg asks about a changed configuration file as it proposes: the
// owner's stays.
const keepIt = "echo | "

// isUpgraded compares the version of a daemon with the one that comes after this.
func (h *host) isUpgraded(d string) {
	h.t.Helper()
	want := strings.TrimSuffix(setting.source.versions[1], "-1")
	if out := h.must(d + " --version"); !slices.Contains(strings.Fields(out), want) {
		h.t.Errorf("after the upgrade %s on %s is %q, want %s", d, h.Name, out, want)
	}
}

// backup is the copy of the catalog from before the upgrade.
func (a *array) backup() string {
	a.t.Helper()
	found := strings.Fields(a.controller.must("find /var/lib/raid-controller -name 'catalog.db.v[0-9]*' -size +0"))
	if len(found) == 0 {
		a.t.Fatalf("there is no copy of the catalog from before the upgrade:\n%s", a.controller.must("ls -lR /var/lib/raid-controller"))
	}
	return found[0]
}

// kept looks for what people wrote into the configuration. What the package has now
// lies beside a file that was edited, and replaces one that was not.
func (a *array) kept() {
	a.t.Helper()
	const edited, packaged = "what its owner wrote", "the upgrade of a test"
	has := func(h *host, path string, wanted ...string) {
		a.t.Helper()
		conf := h.must("cat " + path)
		for _, text := range []string{`scrub_every = "20d"`, edited, packaged} {
			if want := slices.Contains(wanted, text); want != strings.Contains(conf, text) {
				a.t.Errorf("after the upgrade, %s of %s has %q: %v, want %v:\n%s", path, h.Name, text, !want, want, conf)
			}
		}
	}
	has(a.controller, controllerConf, `scrub_every = "20d"`)
	has(a.controller, controllerConf+".dpkg-dist", packaged)
	for i, pi := range a.pis {
		if i%2 == 0 {
			has(pi, nodeConf, edited)
			has(pi, nodeConf+".dpkg-dist", packaged)
		} else {
			has(pi, nodeConf, packaged)
			has(pi, nodeOwn, edited)
		}
	}
}

// downgrade goes back to a controller that does not know the catalog. It refuses, says
// where the copy is, and nothing is lost when the right version returns.
func (a *array) downgrade(files *traffic) {
	files.despite(a.t, "a downgrade is refused, and taken back", func() {
		backup := a.backup()
		before := setting.source.versions[0]
		a.controller.all(keepIt + "apt install --allow-downgrades raid-controller=" + before)
		a.controller.refuses("raid-controller", backup)
		a.controller.must(keepIt + "apt install raid-controller")
		a.controller.until("the controller is active", func() bool { return a.controller.property("raid-controller", "ActiveState") == "active" })
		a.whole(4)
	})
}

// removeAndPurge takes packages of nodes away and installs them again. What a node has
// stays where it is.
func (a *array) removeAndPurge(files *traffic) {
	for _, verb := range []string{"remove", "purge"} {
		pi := a.pis[3]
		id := nodeID(pi)
		files.through(a.t, "the package of a node: "+verb+" and install", func() {
			said := pi.must("apt " + verb + " raid-node")
			// What prerm says of it is in other words.
			if verb == "purge" && !strings.Contains(said, "its chunks are kept: in /var/lib/raid-node/chunks") {
				a.t.Errorf("purge does not say where the chunks are:\n%s", said)
			}
			if n := strings.TrimSpace(pi.must("find /var/lib/raid-node/chunks -type f | wc -l")); n == "0" || n == "1" {
				a.t.Errorf("after %s there are %s files in the chunk directory", verb, n)
			}
			pi.must("apt install raid-node")
			a.whole(4)
		})
		if again := nodeID(pi); again != id {
			a.t.Errorf("after %s and install node %s is %s", verb, id, again)
		}
	}
}
