package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/admission"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// identityDir holds the array's keys, within the state directory.
const identityDir = "identity"

// admit makes what decides who is who: the array's CA, the certificates of this process, and the
// registrar. member is the TLS of connections with nodes. On the port of HTTP it is port. That lets
// in those too that were removed, since they are told.
func (c *Controller) admit(ctx context.Context) (member, port *tls.Config, err error) {
	cfg := &c.cfg
	dir := filepath.Join(cfg.StateDir, identityDir)
	if err := c.openCA(ctx, dir); err != nil {
		return nil, nil, err
	}
	if err := c.proveCommits(ctx); err != nil {
		return nil, nil, err
	}
	c.certificate = &httpsCertificate{ca: c.ca, dir: dir, configured: cfg.Names, built: cfg.Built, machine: cfg.Machine, random: cfg.Random, log: cfg.Log}
	if c.certificate.machine == nil {
		c.certificate.machine = MachineHosts
		c.certificate.announced = func(hostname string, addresses []netip.Addr) string {
			return mdns.OwnName(ctx, "", hostname, addresses)
		}
	}
	c.certificate.tell = c.happened
	if err := c.certificate.renew(time.Now()); err != nil {
		return nil, nil, err
	}
	own, err := c.ca.IssueController(cfg.Random)
	if err != nil {
		return nil, nil, err
	}
	c.registrar = admission.New(admission.Config{
		CA: c.ca, Store: c.catalog, Live: c.isLive, Cut: c.cut, Counts: c.countNodes, Nodes: c.nodesByName,
		Ports:       [3]int{portOf(c.nodes[0]), portOf(c.nodes[1]), portOf(c.nodes[2])},
		MinProtocol: max(1, wire.ProtocolVersion-1), MaxProtocol: wire.ProtocolVersion, Version: cfg.Version,
		KeyLife: cfg.KeyLife, Tell: c.happened, Log: cfg.Log, Random: cfg.Random,
	})
	if err := c.registrar.Load(ctx); err != nil {
		return nil, nil, fmt.Errorf("read who has joined: %w", err)
	}
	anyMember := func(raid.NodeID, identity.Pin) error { return nil } // the registrar asks who it is at each call
	return c.ca.ServerTLS(own, c.registrar.CheckKey), c.ca.PortTLS(c.certificate.current.Load, c.ca.ServerTLS(own, anyMember)), nil
}

// openCA makes the array's CA at its first start. When nodes have joined with one,
// its loss is for a person to see to: with another, all of them are strangers.
func (c *Controller) openCA(ctx context.Context, dir string) (err error) {
	members, err := c.catalog.Members(ctx)
	if err != nil {
		return fmt.Errorf("read who has joined: %w", err)
	}
	joined := slices.ContainsFunc(members, func(m raid.Member) bool { return m.Key != raid.KeyPin{} && !m.Removed })
	if joined && !c.cfg.NewCA {
		c.ca, err = identity.LoadCA(dir, c.catalog.Array())
	} else {
		c.ca, err = identity.OpenCA(dir, c.catalog.Array(), c.cfg.Random)
	}
	return err
}

// proveCommits gives the catalog the key of its commit numbers, if it has none yet. A
// catalog from before there was one gets the same again, as long as the CA is the same.
func (c *Controller) proveCommits(ctx context.Context) error {
	key, err := c.ca.Derive("raidpi commit numbers")
	if err != nil {
		return err
	}
	return c.catalog.ProveWith(ctx, key)
}

func portOf(ln net.Listener) int {
	if at, ok := ln.Addr().(*net.TCPAddr); ok {
		return at.Port
	}
	return 0
}

func (c *Controller) isLive(id raid.NodeID) bool {
	p, ok := c.members.Peer(id)
	return ok && !p.Suspect()
}

// cut ends a node's connections. One that was removed is forgotten too. The registrar
// calls it for REST alone, when all parts are there.
func (c *Controller) cut(id raid.NodeID, why error) {
	c.hub.Cut(id, why)
	if errors.Is(why, identity.ErrRemoved) {
		c.members.Remove(id)
		c.verify.Forget(id)
		c.repair.Wake() // what it held is made anew
	}
}

// countNodes counts native nodes without one.
func (c *Controller) countNodes(but raid.NodeID) (up, known int) {
	for _, n := range c.members.Nodes() {
		if n.Kind != raid.Native || n.ID == but {
			continue
		}
		known++
		if n.State == raid.Up {
			up++
		}
	}
	return up, known
}

// nodesByName lists the nodes with the host names that they joined by.
func (c *Controller) nodesByName() []raid.NodeInfo {
	all := c.members.Nodes()
	for i := range all {
		all[i].Name = c.registrar.Name(all[i].ID)
		if c.verify != nil { // it is made after the registrar, which asks for this too
			all[i].Scrubbed = c.verify.Note(all[i].ID)
		}
		if c.relocate != nil {
			all[i].Drain = c.relocate.State(all[i].ID)
		}
	}
	return all
}

// called is the name of a node for people: the one that it joined by, or else its id.
func (c *Controller) called(id raid.NodeID) string {
	return calledNode(raid.NodeInfo{ID: id, Name: c.registrar.Name(id)})
}

// joinTokens gives the registrar the interface that httpapi asks for.
type joinTokens struct{ *admission.Registrar }

// CreateToken implements httpapi.JoinTokens.
func (j joinTokens) CreateToken(uses int, life time.Duration, node raid.NodeID, zone string) (text string, k raid.JoinToken, err error) {
	t, k, err := j.Registrar.CreateToken(uses, life, node, zone)
	return t.String(), k, err
}
