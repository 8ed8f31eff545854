//go:build nspawn

package pis

import (
	"regexp"
	"strings"
	"time"
)

const (
	controllerConf = "/etc/raid-controller/raid-controller.toml"
	nodeConf       = "/etc/raid-node/raid-node.toml"
)

// upgrade installs the next version while files are stored: the controller first, and
// then one node after the other.
func (a *array) upgrade(files *traffic) {
	t := a.t
	a.controller.must(`sed -i 's/^#scrub_every = .*/scrub_every = "20d"/' ` + controllerConf + " && systemctl reload raid-controller")
	for _, pi := range a.pis {
		pi.must("echo '# what its owner wrote' >>" + nodeConf)
	}
	off := a.pis[2]
	off.must("systemctl disable raid-node") // it still runs
	publishNext(a.all()...)

	files.despite(t, "the controller is upgraded", func() {
		start := time.Now()
		a.controller.must("apt install --only-upgrade raid-controller raidctl")
		t.Logf("apt upgraded the controller in %.1f s", time.Since(start).Seconds())
		a.active(a.controller, "raid-controller")
		a.whole(4) // all of them are of the version before
	})
	if out := a.controller.must("raid-controller --version"); !strings.Contains(out, strings.TrimSuffix(setting.source.versions[1], "-1")) {
		t.Errorf("after the upgrade it is %s", out)
	}
	a.backup()
	for _, pi := range a.pis {
		files.through(t, "a node is upgraded", func() {
			pi.must("apt install --only-upgrade raid-node")
			a.whole(4)
		})
	}
	a.kept()
	if state, _ := off.all("systemctl is-enabled raid-node"); strings.TrimSpace(state) != "disabled" {
		t.Errorf("the unit that was disabled is %s after the upgrade", state)
	}
	off.must("systemctl enable --now raid-node")
	a.whole(4)
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

// kept looks for what people wrote into the configuration.
func (a *array) kept() {
	a.t.Helper()
	if conf := a.controller.must("cat " + controllerConf); !strings.Contains(conf, `scrub_every = "20d"`) {
		a.t.Errorf("the upgrade changed %s:\n%s", controllerConf, conf)
	}
	for _, pi := range a.pis {
		if conf := pi.must("cat " + nodeConf); !strings.Contains(conf, "what its owner wrote") {
			a.t.Errorf("the upgrade changed %s of %s:\n%s", nodeConf, pi.Name, conf)
		}
	}
}

// downgrade goes back to a controller that does not know the catalog. It refuses, says
// where the copy is, and nothing is lost when the right version returns.
func (a *array) downgrade(files *traffic) {
	files.despite(a.t, "a downgrade is refused, and taken back", func() {
		backup := a.backup()
		before := setting.source.versions[0]
		a.controller.all("apt install --allow-downgrades raid-controller=" + before)
		a.controller.says("raid-controller", backup)
		a.controller.logs("raid-controller", backup)
		if state := a.controller.property("raid-controller", "ActiveState"); state == "active" {
			a.t.Error("an old controller runs with a new catalog")
		}
		a.controller.must("apt install raid-controller")
		a.controller.until("the controller is active", func() bool { return a.controller.property("raid-controller", "ActiveState") == "active" })
		a.whole(4)
	})
}

// removeAndPurge takes packages of nodes away and installs them again. What a node has
// stays where it is.
func (a *array) removeAndPurge(files *traffic) {
	chunks := regexp.MustCompile(`/var/lib/raid-node/chunks`)
	for _, verb := range []string{"remove", "purge"} {
		pi := a.pis[3]
		id := nodeID(pi)
		files.through(a.t, "the package of a node: "+verb+" and install", func() {
			said := pi.must("apt " + verb + " raid-node")
			if verb == "purge" && !chunks.MatchString(said) {
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
