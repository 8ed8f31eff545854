package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// A controller that does not let the node in is asked why. The node asks soon at first, and then
// less and less often: TLS says no more than that the controller does not.
const (
	askFirst = 2 * time.Second
	askMost  = 10 * time.Minute
)

// askMembership never waits.
func (l *session) askMembership() {
	select {
	case l.unwelcome <- struct{}{}:
	default:
	}
}

// watchMembership finds out whether the controller has removed the node, whenever it
// does not let it in.
func (d *daemon) watchMembership(ctx context.Context, l *session) error {
	for pause := askFirst; ; pause = min(2*pause, askMost) {
		select {
		case <-ctx.Done():
			return nil
		case <-l.unwelcome:
		}
		removed, err := d.wasRemoved(ctx, l.who.Load())
		switch {
		case err != nil: // it may be away by now
		case removed && !l.removed.Swap(true):
			l.log.Error(removedText(l.who.Load()))
		case !removed:
			l.removed.Store(false)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// wasRemoved asks the controller. It has no call for that, of any version. But a node that wants a
// new key is told first whether it is still a node. This wish has no request in it, so nothing
// follows from it. The answer is the array's: the connection proves it.
func (d *daemon) wasRemoved(ctx context.Context, who *identity.Node) (bool, error) {
	place := d.controllerAddress()
	err := (&call{host: place.Host, port: place.HTTPPort, tls: who.PortTLS(), path: "/v1/nodes/renew",
		body: func(tls.ConnectionState) (any, error) { return renewBody{CSR: []byte{}}, nil }}).do(ctx, d.dial, &raid.Certificate{})
	var no *answerError
	if errors.As(err, &no) && no.status < http.StatusInternalServerError && no.status != http.StatusTooManyRequests {
		return no.status == http.StatusGone, nil
	}
	return false, err
}

// removedText tells the owner of a removed node what to do.
func removedText(who *identity.Node) string {
	return fmt.Sprintf("This node was removed from array %s, which lets it in no more. Its chunks are still on its disk, and the array does not use them. "+
		"To use it again, as a new node: sudo raid-node reset-identity, then join with a new token (on the controller: sudo raidctl token create)", who.Array())
}
