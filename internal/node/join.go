package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// JoinOrder is the wish to join an array.
type JoinOrder struct {
	Host  string `json:"host"` // name or address of the controller
	Port  int    `json:"port"` // its HTTP port; 0: 9000
	Token string `json:"token"`
	Adopt bool   `json:"adopt"` // the disk may belong to another array
}

// Done is the answer of a command that worked.
type Done struct {
	Message  string   `json:"message"`
	Warnings []string `json:"warnings,omitempty"`
}

const (
	joinPath        = "/v1/nodes/join"
	defaultHTTPPort = 9000
	// heartbeatWait bounds the wait of a node that has joined for its controller's first heartbeat.
	// They come every two seconds or more often.
	heartbeatWait = 20 * time.Second
)

// joining is one attempt to join.
type joining struct {
	*daemon
	order   JoinOrder
	token   identity.Token
	array   raid.ArrayID   // the controller's, by its certificate
	former  *identity.Node // it has joined already, and finds no controller that lets it in
	request *identity.Request
}

// join joins an array. Each step is durable before the next one begins. So joining again after a
// crash anywhere goes on with the same id and key, which costs no further use of the token.
func (d *daemon) join(ctx context.Context, order JoinOrder) (*Done, error) {
	token, err := ReadToken(order.Token)
	if err != nil {
		return nil, err
	}
	if order.Port == 0 {
		order.Port = defaultHTTPPort
	}
	if order.Host == "" || order.Port < 0 || order.Port > 65535 {
		return nil, fail(ExitUsage, nil, "The controller's host is missing, or its port is none")
	}
	if !d.busy.TryLock() {
		return nil, errBusy()
	}
	defer d.busy.Unlock()
	j := &joining{daemon: d, order: order, token: token}
	if done, err := j.mayJoin(); done != nil || err != nil {
		return done, err
	}
	var answer raid.Certificate
	err = (&call{host: order.Host, port: order.Port, tls: token.ClientTLS(), path: joinPath,
		body: func(cs tls.ConnectionState) (any, error) { return j.ask(ctx, cs) }}).do(ctx, d.cfg.Dial, &answer)
	if err != nil {
		return nil, err
	}
	if err := j.check(&answer); err != nil {
		return nil, err
	}
	l, err := d.between(ctx, func() error { return j.complete(&answer) })
	if err != nil {
		return nil, err
	}
	d.cfg.Log.Info("Joined", "array", j.array, "node", answer.Node, "controller", order.Host, "token", token)
	return j.await(ctx, l, &answer)
}

func errBusy() error {
	return fail(ExitAgain, nil, "This node is joining, leaving or getting a new key right now; try again in a moment")
}

// ReadToken reads a token that a person pasted.
func ReadToken(text string) (identity.Token, error) {
	token, err := identity.ParseToken(text)
	switch {
	case errors.Is(err, identity.ErrMistyped):
		return token, fail(ExitToken, err, "This token was mistyped (checksum). Copy the whole line again")
	case err != nil:
		return token, fail(ExitToken, err, "This is not a token: one begins with RAID1- and has %d characters. On the controller: sudo raidctl token create", identity.TokenLen)
	}
	return token, nil
}

// mayJoin looks whether there is anything to do, and whether it may be done.
func (j *joining) mayJoin() (*Done, error) {
	who, err := identity.LoadNode(j.identityDir(), j.machine)
	switch {
	case errors.Is(err, identity.ErrNotJoined):
		return nil, nil
	case errors.Is(err, identity.ErrClone):
		return nil, fail(ExitSetRight, err, clone)
	case err != nil:
		return nil, fail(ExitSetRight, err, "This node's identity can't be used: %v", err)
	}
	l := j.current.Load()
	connected := l != nil && l.link != nil && l.link.Connected()
	if connected && who.Pin().Short() != j.token.Pin() {
		return nil, alreadyJoined(who)
	}
	problem, err := j.mismatch(who)
	if err != nil {
		return nil, err
	}
	if problem != "" {
		return nil, fail(ExitSetRight, nil, "%s", problem)
	}
	if !connected {
		// The controller is away, has moved, has forgotten this node with an older
		// catalog, or has lost its CA. With the key that the node has, asking again
		// costs nothing.
		j.former = who
		return nil, nil
	}
	return &Done{Message: fmt.Sprintf("This node is already joined to array %s, as node %s. Nothing was changed, and no use of the token was spent", who.Array(), who.ID())}, nil
}

func alreadyJoined(who *identity.Node) error {
	return fail(ExitSetRight, nil, "This node is already joined to array %s. To move it: sudo raid-node leave", who.Array())
}

// ask makes the request once the controller's pin has been compared. Nothing was
// sent to it yet.
func (j *joining) ask(ctx context.Context, cs tls.ConnectionState) (any, error) {
	var err error
	if j.array, err = identity.ArrayOf(cs); err != nil {
		return nil, fail(ExitRefused, err, "What answers at %s names no array: %v", j.order.Host, err)
	}
	if j.former != nil && j.former.Array() != j.array {
		return nil, alreadyJoined(j.former)
	}
	if err := j.checkDisk(); err != nil {
		return nil, err
	}
	if j.disk.Array() == "" && j.former == nil && !identity.Prepared(j.identityDir(), j.machine) {
		// The card may have been copied before this first attempt.
		_, err := j.between(ctx, func() error {
			if j.disk.Array() != "" {
				return j.checkDisk()
			}
			_, _, err := j.disk.NewNode()
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	prepare := identity.Prepare
	if j.former != nil {
		prepare = identity.Again
	}
	if j.request, err = prepare(j.identityDir(), j.machine); err != nil {
		return nil, err
	}
	proof, err := j.token.Prove(cs, j.request.CSR())
	if err != nil {
		return nil, err
	}
	return raid.JoinRequest{
		Protocol: wire.ProtocolVersion, Version: j.cfg.Version, Token: j.token.ID(), CSR: j.request.CSR(), Proof: proof,
		Node: j.disk.Node(), Name: j.cfg.hostName(),
	}, nil
}

// checkDisk refuses a disk of another array.
func (j *joining) checkDisk() error {
	if old := j.disk.Array(); old != "" && old != j.array && !j.order.Adopt {
		return fail(ExitSetRight, nil, "%s has the marker of node %s (array %s), and this is array %s. Nothing was sent. Use --adopt to take the disk along and keep its chunks "+
			"(in a folder beside those of the new array), or choose another directory",
			j.cfg.ChunkDir, j.disk.Node(), old, j.array)
	}
	return nil
}

// check looks at what the certificates don't say.
func (j *joining) check(a *raid.Certificate) error {
	ports := []int{a.StorePort, a.ResponsePort, a.RequestPort}
	for _, p := range ports {
		if p < 1 || p > 65535 {
			return fail(ExitAgain, nil, "The controller at %s answered with ports %v, which can't be; nothing was changed", j.order.Host, ports)
		}
	}
	if a.Array != j.array || a.Node != j.disk.Node() {
		return fail(ExitAgain, nil, "The controller at %s answered for node %s of array %s, and was asked for node %s of array %s; nothing was changed",
			j.order.Host, oneLine(string(a.Node)), oneLine(string(a.Array)), j.disk.Node(), j.array)
	}
	return nil
}

// complete makes the node a member. The identity comes last: with it, it is one.
func (j *joining) complete(a *raid.Certificate) error {
	if err := j.disk.Reassign(j.array); err != nil {
		return err
	}
	err := writeAddress(j.cfg.StateDir, ControllerAddress{
		Host: j.order.Host, HTTPPort: j.order.Port, StorePort: a.StorePort, ResponsePort: a.ResponsePort, RequestPort: a.RequestPort,
	})
	if err != nil {
		return err
	}
	_, err = j.request.Complete(a.DER, a.CA, j.token.Pin())
	return err
}

// await waits until the controller has spoken to its new node.
func (j *joining) await(ctx context.Context, l *session, a *raid.Certificate) (*Done, error) {
	done := &Done{
		Message:  fmt.Sprintf("Joined as %s (%d/%d nodes)", j.cfg.hostName(), a.Up+1, a.Known+1),
		Warnings: j.warnings(),
	}
	timer := time.NewTimer(heartbeatWait)
	defer timer.Stop()
	select {
	case <-l.heard:
		return done, nil
	case <-timer.C:
	case <-ctx.Done():
	case <-j.over:
	}
	return nil, fail(ExitAgain, nil, "%s has joined array %s, and has no connection with its controller yet. It goes on trying; look with raid-node status. Now: %s",
		j.cfg.hostName(), j.array, l.line())
}

// warnings tells what is amiss, but did not keep the node from joining.
func (j *joining) warnings() (all []string) {
	if w := j.clockWarning(); w != "" {
		all = append(all, w)
	}
	var keys []string
	theirs, ours := j.controllerAddress(), j.order
	if theirs.Host != ours.Host {
		keys = append(keys, fmt.Sprintf("host = %q", theirs.Host))
	}
	if theirs.HTTPPort != ours.Port {
		keys = append(keys, fmt.Sprintf("http_port = %d", theirs.HTTPPort))
	}
	if len(keys) > 0 {
		all = append(all, fmt.Sprintf("The configuration says %s under [controller], which comes before what was joined; change it there", strings.Join(keys, " and ")))
	}
	return all
}

// clockWarning tells of a clock that can't be right.
func (d *daemon) clockWarning() string {
	if now, wrong := d.wrongClock(); wrong {
		return fmt.Sprintf("This Pi's clock says %s; joining anyway, certificates are checked by pin. Fix: timedatectl", now)
	}
	return ""
}

// wrongClock tells the date by a clock that can't be right.
func (d *daemon) wrongClock() (date string, wrong bool) {
	if d.cfg.Now == nil {
		return "", false
	}
	now := d.cfg.Now()
	return now.Format("2006-01-02"), now.Before(d.cfg.Built)
}
