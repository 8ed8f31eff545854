//go:build nspawn

package pis

import (
	"encoding/json"
	"strings"
	"testing"
)

// heardProgram notes who runs it, what it gets, and what it can do.
const heardProgram = `#!/bin/sh
out=/var/lib/raid-controller/heard
{
	printf 'user %s\n' "$(id -un)"
	printf 'kind %s\n' "$RAID_EVENT_KIND"
	printf 'secrets %s\n' "$(env | grep -c RAID_CONTROLLER)"
	for path in /etc/raid-controller/x /usr/local/bin/x /home/x; do
		(: >"$path") 2>/dev/null && printf 'written %s\n' "$path"
	done
	printf 'json '
	cat
	echo end
} >>"$out"
`

// In the daemon's sandbox the program of [events] gets each event, as the daemon's user,
// and can do no more than the daemon.
func TestSandboxedControllerRunsTheProgramForEvents(t *testing.T) {
	t.Parallel()
	s := newLab(t)
	h := s.add("controller", controllerAddr, nil)
	boot(t, h)
	h.paste("apt")
	h.must("sudo apt install raid-controller")
	h.becomesActive("raid-controller")
	h.check(h.WriteFile("/usr/local/bin/heard", heardProgram))
	h.must(`printf '[events]\nexec = "/usr/local/bin/heard"\n' >/etc/raid-controller/conf.d/events.toml && systemctl restart raid-controller`)
	h.becomesActive("raid-controller")
	h.must("raidctl access create phone --scope read")
	var lines []string
	h.until("the program has run", func() bool {
		text, _ := h.all("cat /var/lib/raid-controller/heard")
		_, mine, found := strings.Cut(text, "kind token-made\n")
		mine, _, ended := strings.Cut(mine, "end\n")
		lines = strings.Split(strings.TrimSpace(mine), "\n")
		if found && ended && !strings.Contains(text, "user raid-controller\nkind token-made\n") {
			t.Fatalf("the program is not run by the daemon's user:\n%s", text)
		}
		return found && ended
	})
	if len(lines) != 2 || lines[0] != "secrets 0" {
		t.Fatalf("in the sandbox the program finds: %q", lines)
	}
	var e struct {
		Seq                    int64
		At, Kind, Text, Advice string
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[1], "json ")), &e); err != nil {
		t.Fatalf("on standard input it gets %q: %v", lines[1], err)
	}
	if e.Seq == 0 || e.At == "" || e.Kind != "token-made" || !strings.Contains(e.Text, `"phone"`) || !strings.Contains(e.Advice, "raidctl access revoke") {
		t.Errorf("the event is %+v", e)
	}

	// One that fails is a line in the journal, and costs nothing else.
	h.check(h.WriteFile("/usr/local/bin/heard", "#!/bin/sh\necho 'no route to mail host' >&2\nexit 3\n"))
	h.must("raidctl access create tablet --scope read")
	h.logs("raid-controller", "the program that gets the events failed", "no route to mail host")
	h.must("test $(systemctl show --value --property=NRestarts raid-controller) = 0")
	if told := h.must("raidctl events --kind token-made"); strings.Count(told, "token-made") != 2 {
		t.Errorf("the events are:\n%s", told)
	}
}
