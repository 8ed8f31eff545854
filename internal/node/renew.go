package node

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// renewPause lies between two renewals, and after one that failed. The controller
// asks with each heartbeat, every two seconds or more often.
const renewPause = time.Minute

// renewBody is the JSON of docs/rest.md.
type renewBody struct {
	CSR []byte `json:"csr"`
}

// renewKeys gets the node a new key whenever the controller asks for it.
func (d *daemon) renewKeys(ctx context.Context, l *session) error {
	for {
		select {
		case <-l.renewC:
		case <-ctx.Done():
			return nil
		}
		switch err := d.renew(ctx, l); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			l.log.Warn("The controller asks for a new key, and the node has none yet; it tries again", "reason", err)
		default:
			l.log.Info("Key renewed; the next connection uses it")
		}
		t := time.NewTimer(renewPause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// renew gets a certificate for a new key. The link's connections stay; those to
// come use it.
func (d *daemon) renew(ctx context.Context, l *session) error {
	if !d.busy.TryLock() {
		return errBusy()
	}
	defer d.busy.Unlock()
	// What is on disk counts: a renewal may have failed after it was stored.
	old, err := identity.LoadNode(d.identityDir(), d.machine)
	if err != nil {
		return err
	}
	l.who.Store(old)
	request, err := identity.Prepare(d.identityDir(), d.machine)
	if err != nil {
		return err
	}
	var answer raid.Certificate
	place := d.controllerAddress()
	err = (&call{host: place.Host, port: place.HTTPPort, tls: old.PortTLS(), path: "/v1/nodes/renew",
		body: func(tls.ConnectionState) (any, error) { return renewBody{request.CSR()}, nil }}).do(ctx, d.dial, &answer)
	if err != nil {
		return err
	}
	who, err := request.Complete(answer.DER, answer.CA, old.Pin().Short())
	if err != nil {
		return err
	}
	l.who.Store(who)
	return nil
}
