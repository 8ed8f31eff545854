package admission

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/raid"
)

// Change changes what people decide about a node, durably: its zone, its name, how
// much of its disk is used. It fails with raid.ErrInvalid, and with raid.ErrNotFound
// for a node that is not known or was removed.
func (d *Registrar) Change(ctx context.Context, id raid.NodeID, to raid.NodeChange) error {
	switch {
	case to.Zone != nil && !raid.ValidZone(*to.Zone):
		return fmt.Errorf("change node %s: %w: a zone's name has at most %d bytes, which can be shown", id, raid.ErrInvalid, raid.MaxZone)
	case to.Name != nil && !validName(*to.Name):
		return fmt.Errorf("change node %s: %w: a node's name has at most %d bytes, which can be shown", id, raid.ErrInvalid, maxName)
	case to.Disk != nil && *to.Disk <= 0:
		return fmt.Errorf("change node %s: %w: a disk has more than %d bytes", id, raid.ErrInvalid, *to.Disk)
	}
	err := d.change(ctx, func() error {
		m, err := d.cfg.Store.ChangeNode(context.WithoutCancel(ctx), id, to)
		if err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if old, ok := d.members[id]; ok {
			old.Name, old.Named = m.Name, m.Named
			d.members[id] = old
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("change node %.40q: %w", id, err)
	}
	return nil
}

// Follow takes over the name that a node's machine has now, durably, and reports
// whether that changed something. A name that a person has given stays, and what
// can't be a name is passed over.
func (d *Registrar) Follow(ctx context.Context, id raid.NodeID, name string) (changed bool, err error) {
	m, _ := d.member(id)
	if !joined(m) || m.Named || m.Name == name || name == "" || !validName(name) {
		return false, nil
	}
	if err := d.Change(ctx, id, raid.NodeChange{HostName: &name}); err != nil {
		return false, err
	}
	d.cfg.Log.Info("a node's machine has got another name", "node", id, "was", m.Name, "name", name)
	return true, nil
}

// validName accepts what can be shown as the name of a machine, and no name at all.
func validName(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}
