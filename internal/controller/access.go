package controller

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const exposedMessage = `everybody in the network may read, write and delete all files: REST listens for other machines and auth under [http] is "off"`

// exposed tells whether strangers are served.
func (c *Controller) exposed() bool {
	if c.cfg.Auth || !c.cfg.Open {
		return false
	}
	at, ok := c.http.Addr().(*net.TCPAddr)
	return ok && !at.IP.IsLoopback()
}

// expiryRound is how often it is looked whether a token has expired. That is
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
