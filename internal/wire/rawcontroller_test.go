package wire

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// rawController is a controller under the test's own hands. Its connections are
// handed out as they come, each to be read by the test.
type rawController struct {
	t     testing.TB
	th    *testHub // addresses only
	conns chan *zmtp.Conn
	stop  func()
}

// startRawController serves three ports. props go into its READY: nothing makes it a lab
// controller.
func startRawController(t testing.TB, n network, props zmtp.Properties) *rawController {
	t.Helper()
	store, response, request := n.Listen(t), n.Listen(t), n.Listen(t)
	rc := &rawController{t: t, conns: make(chan *zmtp.Conn, 100), th: &testHub{
		net: n, store: store.Addr().String(), response: response.Addr().String(), request: request.Addr().String(),
	}}
	rc.stop = background(t, "raw controller", func(ctx context.Context) error {
		done := make(chan error, 3)
		serve := func(ln net.Listener, typ zmtp.SocketType) {
			done <- zmtp.Serve(ctx, ln, zmtp.ServerConfig{
				Config: func(net.Conn) zmtp.Config {
					return zmtp.Config{
						Type: typ, Properties: props, Pool: budget.New(64 << 20),
						Limits: zmtp.Limits{MaxFrame: 16 << 20, MaxMessage: 17 << 20},
					}
				},
				Handle: func(_ context.Context, c *zmtp.Conn) {
					rc.conns <- c
					<-c.Done()
				},
			})
		}
		go serve(store, zmtp.Push)
		go serve(response, zmtp.Pull)
		go serve(request, zmtp.Pub)
		for range 3 {
			if err := <-done; err != nil {
				return err
			}
		}
		return nil
	})
	return rc
}

// rawSession is the controller's end of one session.
type rawSession struct {
	t     testing.TB
	hello hello
	conns [roleCount]*zmtp.Conn
}

// accept waits for a whole session.
func (rc *rawController) accept() *rawSession {
	rc.t.Helper()
	rs := &rawSession{t: rc.t}
	for range roleCount {
		select {
		case c := <-rc.conns:
			h, err := parseHello(c.Peer())
			if err != nil {
				rc.t.Fatal(err)
			}
			rs.hello = h
			rs.conns[h.role] = c
		case <-time.After(10 * time.Second):
			rc.t.Fatal("no whole session came")
		}
	}
	return rs
}

// keepBeating sends heartbeats and reads what nobody else does.
func (rs *rawSession) keepBeating() {
	frame := mustMarshal(rs.t, &wirepb.GetdataRequest{CatalogCommit: 9})
	go func() {
		for rs.conns[roleRequest].Send(context.Background(), frame) == nil {
			time.Sleep(50 * time.Millisecond)
		}
	}()
	for _, r := range []role{roleStore, roleRequest} {
		go func() {
			for {
				if _, err := rs.conns[r].Receive(nil); err != nil {
					return
				}
			}
		}()
	}
}

// store sends a Store request.
func (rs *rawSession) store(id uint64, remaining time.Duration, req StoreRequest) {
	rs.t.Helper()
	var e encoder
	f, err := e.store(id, req.Meta.Key.Name(), uint32(remaining/time.Millisecond), raid.Commit{Number: req.Meta.Commit}, &req.Meta)
	if err == nil {
		err = rs.conns[roleStore].Send(context.Background(), f.buf, req.Payload)
	}
	if err != nil {
		rs.t.Fatal(err)
	}
}

// request sends a request on port 5559.
func (rs *rawSession) request(pb *wirepb.GetdataRequest) {
	rs.t.Helper()
	if err := rs.conns[roleRequest].Send(context.Background(), mustMarshal(rs.t, pb)); err != nil {
		rs.t.Fatal(err)
	}
}

// answer reads the next response that is no heartbeat.
func (rs *rawSession) answer(r role) (*wirepb.Response, []byte) {
	rs.t.Helper()
	for {
		m, err := rs.conns[r].Receive(nil)
		if err != nil {
			rs.t.Fatalf("read response: %v", err)
		}
		pb := new(wirepb.Response)
		if err := proto.Unmarshal(m.Frames[0], pb); err != nil {
			rs.t.Fatal(err)
		}
		if pb.RequestId == 0 {
			continue
		}
		if len(m.Frames) > 1 {
			return pb, m.Frames[1]
		}
		return pb, nil
	}
}

// getOp asks for a whole chunk.
func getOp(id uint64, name raid.ChunkName, length int) *wirepb.GetdataRequest {
	return &wirepb.GetdataRequest{RequestId: id, Filename: string(name), Op: &wirepb.GetdataRequest_Get{
		Get: &wirepb.GetOp{Length: uint64(length), ExpectedLength: uint64(length)},
	}}
}
