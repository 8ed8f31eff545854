package controller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// warnings tell what the configuration leaves open, for the log, /status and the
// status line. What listens on loopback alone is open to nobody else.
func (c *Controller) warnings() (all []string) {
	if c.volatile != "" {
		all = append(all, c.volatile)
	}
	if now := time.Now(); now.Before(c.cfg.Built) {
		all = append(all, fmt.Sprintf("this machine's clock says %s, before this program was built: files get wrong dates, and browsers may refuse the certificate. Fix: timedatectl", now.Format(time.DateOnly)))
	}
	if onNetwork(c.http.Addr()) {
		if !c.cfg.Auth {
			all = append(all, `everybody in the network may read, store and delete all files: auth under [http] is "off"`)
		}
		if c.cfg.HTTPPlain == wire.PlaintextAny {
			all = append(all, `who listens to the network can read files and tokens that are sent without TLS: plaintext under [http] is "any"`)
		}
	}
	if c.cfg.Plaintext == wire.PlaintextAny && onNetwork(c.nodes[0].Addr()) {
		all = append(all, `everybody in the network may be given halves of files to keep, as a lab node: plaintext under [nodes] is "any"`)
	}
	return all
}

func onNetwork(a net.Addr) bool {
	at, ok := a.(*net.TCPAddr)
	return ok && !at.IP.IsLoopback()
}

// expiryRound is the interval of the looks for tokens that have expired. That is
// written once for each token; requests are refused at once anyway.
const expiryRound = time.Minute

// noteExpired sees to it that no token that has expired lives again after a
// start with a wrong clock.
func (c *Controller) noteExpired(ctx context.Context) error {
	tick := time.NewTicker(expiryRound)
	defer tick.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		err := c.catalog.NoteExpired(context.WithoutCancel(ctx))
		if err != nil && !errors.Is(err, raid.ErrCatalogBroken) {
			c.cfg.Log.Warn("that a token has expired could not be written down", "error", err)
		}
	}
	return nil
}
