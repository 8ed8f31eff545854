package nspawn

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// filterTable drops what comes from, or goes to, the ports of its two sets. They are
// names of the switch's ports, one per host.
const filterTable = `table bridge cut {
	set from { type ifname; }
	set towards { type ifname; }
	chain entering { type filter hook prerouting priority 0; iifname @from drop; }
	chain leaving { type filter hook postrouting priority 0; oifname @towards drop; }
}`

// nft changes the switch's filter.
func (l *Lab) nft(ctx context.Context, commands string) error {
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+l.netns(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(commands + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("change the switch's filter: %w: %s", err, out)
	}
	return nil
}

// Cut says what a damaged cable still does.
type Cut int

// None is a cable in order. Both is pulled out at the switch, which the host's own
// network card notices. With In nothing reaches the host, with Out nothing leaves it,
// and neither end notices.
const (
	None Cut = iota
	Both
	In
	Out
)

func (c Cut) String() string { return []string{"in order", "pulled", "cut inwards", "cut outwards"}[c] }

// port is the name of the host's port on the switch, as systemd-nspawn makes it.
func (h *Host) port() string { return "vb-" + h.Name }

// Cable damages or repairs the host's cable. The host must be running.
func (h *Host) Cable(ctx context.Context, cut Cut) error {
	if err := h.repairCable(ctx); err != nil {
		return err
	}
	state := "up"
	if cut == Both {
		state = "down"
	}
	if err := run(ctx, "ip", "-n", h.lab.id, "link", "set", h.port(), state); err != nil {
		return err
	}
	switch cut {
	case In:
		return h.lab.nft(ctx, fmt.Sprintf("add element bridge cut towards { %q }", h.port()))
	case Out:
		return h.lab.nft(ctx, fmt.Sprintf("add element bridge cut from { %q }", h.port()))
	}
	return nil
}

// repairCable takes the host's port out of the filter. Adding first makes the deletion of
// what is not there succeed.
func (h *Host) repairCable(ctx context.Context) error {
	var lines strings.Builder
	for _, set := range []string{"from", "towards"} {
		for _, verb := range []string{"add", "delete"} {
			fmt.Fprintf(&lines, "%s element bridge cut %s { %q }\n", verb, set, h.port())
		}
	}
	return h.lab.nft(ctx, lines.String())
}
