package controller

import (
	"context"
	"errors"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

const (
	// nameRound is the interval of the looks whether a machine is called otherwise.
	nameRound = 5 * time.Second
	// renameEvery is the least time between two notes of a node's new name.
	renameEvery = time.Minute
	// toldHosts bounds the names and addresses of this machine that nodes are told.
	toldHosts = 8
)

// tell returns what a node is told besides requests.
func (c *Controller) tell(id raid.NodeID) wire.Told {
	hosts := c.certificate.names()
	order := c.verify.Order(id)
	return wire.Told{Hosts: hosts[:min(len(hosts), toldHosts)], Name: c.registrar.Name(id), Scrub: &order}
}

// followNames follows the host names of nodes that are changed while they run, until
// ctx ends. A name that a person has given stays.
func (c *Controller) followNames(ctx context.Context) error {
	tick := time.NewTicker(nameRound)
	defer tick.Stop()
	followed := map[raid.NodeID]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for id, name := range c.members.HostNames() {
			if at, there := followed[id]; there && time.Since(at) < renameEvery {
				continue
			}
			changed, err := c.registrar.Follow(ctx, id, name)
			if changed || err != nil {
				followed[id] = time.Now()
			}
			if err != nil && ctx.Err() == nil && !errors.Is(err, raid.ErrCatalogBroken) {
				c.cfg.Log.Warn("a node's new name could not be written down", "node", id, "error", err)
			}
		}
	}
}
