package wire

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// quietSession is a session without connections.
func quietSession() *Session {
	h := NewHub(HubConfig{Log: slog.New(slog.DiscardHandler)})
	return newSession(h, hello{node: "node", session: "session"}, nil)
}

func seed(f *testing.F, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// What a node sends on port 5558, against a store, a get and a delete that wait.
func FuzzResponseFrames(f *testing.F) {
	whole := bytes.Repeat([]byte("x"), 100)
	get := &wirepb.GetResult{Length: 100, BlockCrc32C: raid.BlockChecksums(whole)}
	f.Add(seed(f, &wirepb.Response{RequestId: 1, Filename: "store1"}), []byte(nil), false)
	f.Add(seed(f, &wirepb.Response{RequestId: 2, Filename: "get123", Result: &wirepb.Response_Get{Get: get}}), whole, true)
	f.Add(seed(f, &wirepb.Response{RequestId: 2, Filename: "get123", Result: &wirepb.Response_Get{Get: get}}), whole[1:], true)
	f.Add(seed(f, &wirepb.Response{RequestId: 2, Filename: "get123", Error: wirepb.Error_NOT_FOUND, ErrorText: "gone"}), []byte(nil), false)
	f.Add(seed(f, &wirepb.Response{RequestId: 3, Result: &wirepb.Response_Delete{Delete: &wirepb.DeleteResult{Errors: []wirepb.Error{0, 1, 99}}}}), []byte(nil), false)
	f.Add(seed(f, &wirepb.Response{RequestId: 3, Result: &wirepb.Response_List{List: &wirepb.ListResult{Names: []string{"abc"}, More: true}}}), []byte(nil), false)
	f.Add(seed(f, &wirepb.Response{RequestId: 3, Result: &wirepb.Response_List{List: &wirepb.ListResult{
		Names: []string{"abc"}, Errors: []wirepb.Error{0}, Lengths: []uint64{5}, Crc32C: []uint32{6},
	}}}), []byte(nil), false)
	f.Add(seed(f, &wirepb.Response{Result: &wirepb.Response_Heartbeat{Heartbeat: &wirepb.Heartbeat{TotalBytes: math.MaxUint64}}}), []byte(nil), false)
	f.Add(seed(f, &wirepb.Response{Result: &wirepb.Response_Heartbeat{Heartbeat: &wirepb.Heartbeat{
		BadChunks: math.MaxUint64, Scrub: &wirepb.Scrub{State: 1, SecondsLeft: math.MaxUint64, Last: &wirepb.ScrubPass{Number: 1, EndedSeconds: 7}},
	}}}), []byte(nil), false)
	f.Fuzz(func(t *testing.T, head, payload []byte, data bool) {
		s := quietSession()
		s.window.tryAcquire(0) // for the call that stores
		dst := make([]byte, 100)
		calls := []*call{
			{id: 1, name: "store1", kind: callStore}, {id: 2, name: "get123", kind: callGet, dst: dst, expect: 100},
			{id: 3, kind: callOther},
		}
		for _, c := range calls {
			c.outcome = make(chan outcome, 1)
			if err := s.enter(c); err != nil {
				t.Fatal(err)
			}
		}
		if data {
			d := dataReader{session: s}
			into, err := d.sink([][]byte{head}, int64(len(payload)))
			if err == nil && into != nil && len(into) != len(payload) {
				t.Fatalf("%d bytes for a payload of %d", len(into), len(payload))
			}
			copy(into, payload)
			d.finish(err)
			if d.call != nil {
				t.Fatal("a call is left in the reader's hands")
			}
		} else if r, err := decodeControl([][]byte{head}); err == nil {
			if r.id == 0 {
				if b := decodeHeartbeat(r.pb.GetHeartbeat()); b.TotalBytes < 0 || b.FreeBytes < 0 || b.Chunks < 0 ||
					b.Bad < 0 || b.Scrub.Left < -1 || b.Scrub.OfBytes < 0 || b.Scrub.Last.Began < b.Scrub.Last.Ended {
					t.Fatalf("negative heartbeat %+v", b)
				} else if again := decodeWear(encodeWear(b.Wear)); again != b.Wear || b.Wear.Lately().Running < 0 {
					t.Fatalf("wear %+v reads as %+v", b.Wear, again)
				}
			} else {
				s.answer(r)
			}
		}
		ended := check(t, calls)
		s.End(errors.New("test"))
		for _, c := range calls {
			if len(c.outcome) != 1 && !ended[c] || len(c.outcome) != 0 && ended[c] {
				t.Fatalf("call %d ended %d times more after %v", c.id, len(c.outcome), ended[c])
			}
		}
	})
}

// check looks at the outcomes of the fuzzer's calls, and tells which have one.
func check(t *testing.T, calls []*call) map[*call]bool {
	ended := map[*call]bool{}
	for _, c := range calls {
		select {
		case o := <-c.outcome:
			ended[c] = true
			if o.err != nil {
				continue
			}
			switch c.kind {
			case callGet:
				if o.get.Length != 100 || len(o.get.Blocks) != 1 {
					t.Fatalf("get came out as %+v", o.get)
				}
			case callOther:
				if errs, err := o.resp.deleteResult(3); err == nil && len(errs) != 3 {
					t.Fatalf("delete came out as %v", errs)
				}
				if names, more, err := o.resp.listResult(2); err == nil && (len(names) > 2 || more && len(names) == 0) {
					t.Fatalf("list came out as %v, %v", names, more)
				}
				chunks, _, err := o.resp.describeResult(2)
				for _, c := range chunks {
					if err == nil && (len(chunks) > 2 || c.Length < 0 || !c.Described && c != (raid.Listed{Name: c.Name})) {
						t.Fatalf("descriptions came out as %+v", chunks)
					}
				}
			}
		default:
		}
	}
	return ended
}

// What a controller sends on ports 5557 and 5559.
func FuzzRequestFrames(f *testing.F) {
	up := newUpload(f, 3)
	req := up.store([]byte("payload"))
	req.Meta.File = &raid.FileMeta{ID: 1, Filename: "f", Stripes: 1}
	var e encoder
	frame, err := e.store(5, req.Meta.Key.Name(), 1000, raid.Commit{Number: 7, MAC: raid.CommitMAC{9}}, &req.Meta)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(frame.buf), []byte("payload"))
	f.Add(bytes.Clone(frame.buf), []byte("other length"))
	f.Add(seed(f, &wirepb.StoredataRequest{Filename: "lab1"}), []byte("lab"))
	f.Add(seed(f, getOp(1, "abc", 100)), []byte(nil))
	f.Add(seed(f, &wirepb.GetdataRequest{RequestId: 1, Filename: "abc", Op: &wirepb.GetdataRequest_Get{Get: &wirepb.GetOp{Offset: math.MaxUint64, Length: 2, ExpectedLength: 1}}}), []byte(nil))
	f.Add(seed(f, &wirepb.GetdataRequest{RequestId: 1, Op: &wirepb.GetdataRequest_Delete{Delete: &wirepb.DeleteOp{Names: []string{"abc", "../x"}}}}), []byte(nil))
	f.Add(seed(f, &wirepb.GetdataRequest{RequestId: 1, Op: &wirepb.GetdataRequest_List{List: &wirepb.ListOp{Limit: math.MaxUint32}}}), []byte(nil))
	f.Add(seed(f, &wirepb.GetdataRequest{CatalogCommit: 9}), []byte(nil))
	f.Fuzz(func(t *testing.T, head, payload []byte) {
		if s, invalid, err := decodeStore(head, payload); err == nil && invalid == nil {
			m := s.req.Meta
			if m.Key.Name() != s.name || m.Length != int64(len(payload)) || int64(len(m.Blocks)) != raid.BlockCount(m.Length) || m.StripeSize < 0 || !isID(string(m.Array)) {
				t.Fatalf("store came out as %+v", s)
			}
			if m.File != nil && (m.File.Size < 0 || m.File.Stripes < 0) {
				t.Fatalf("file came out as %+v", m.File)
			}
		}
		r, invalid, err := decodeRequest(head, 1<<20)
		if err != nil || invalid != nil || r.heartbeat() {
			return
		}
		if g := r.get; g != nil && (g.Offset < 0 || g.Length < 0 || g.Length > 1<<20 || g.Offset+g.Length > g.ExpectLength || !raid.ValidName(string(g.Name))) {
			t.Fatalf("get came out as %+v", g)
		}
		if l := r.list; l != nil && (l.Limit < 1 || l.Limit > maxListed || l.describe && l.Limit > maxDescribed) {
			t.Fatalf("list came out as %+v", l)
		}
		for _, n := range r.delete {
			if !raid.ValidName(string(n)) {
				t.Fatalf("delete of %q", n)
			}
		}
	})
}

// What a lab peer sends on ports 5558 and 5559.
func FuzzLabFrames(f *testing.F) {
	f.Add([]byte("chunk1"), []byte("data"), byte(1))
	f.Add([]byte("chunk1"), []byte("data"), byte(2))
	f.Add([]byte("chunk2"), []byte("DATA"), byte(2))
	f.Add([]byte("\x01topic"), []byte{}, byte(1))
	f.Add([]byte{0}, []byte{}, byte(0))
	f.Fuzz(func(t *testing.T, first, second []byte, frames byte) {
		h := NewHub(HubConfig{Log: slog.New(slog.DiscardHandler)})
		l := h.labs
		n := &LabNode{labs: l, window: newWindow(100)}
		n.window.tryAcquire(4)
		st := &labStore{node: n, name: "chunk1", size: 4, done: make(chan error, 1)}
		if err := l.enterStore(st); err != nil {
			t.Fatal(err)
		}
		g := &labGet{name: "chunk2", dst: make([]byte, 4), accept: want([]byte("data")), done: make(chan bool, 1)}
		l.ask(g)
		p := &labPush{labs: l}
		message := [][]byte{first, second, second}[:min(frames, 3)]
		var err error
		for i := 1; i < len(message) && err == nil; i++ {
			var into []byte
			into, err = p.sink(message[:i], int64(len(message[i])))
			if into != nil && (len(into) != len(second) || string(first) != "chunk2") {
				t.Fatalf("%q goes into a destination of %d bytes", first, len(into))
			}
			copy(into, message[i])
		}
		if err == nil {
			err = p.message(message)
		}
		p.finish(err == nil)
		if (len(st.done) == 1) != (len(message) == 1 && string(first) == "chunk1") {
			t.Fatalf("%d frames, the first %q: acknowledged %v", len(message), first, len(st.done) == 1)
		}
		if (len(g.done) == 1) != (len(message) == 2 && string(first) == "chunk2" && string(second) == "data") {
			t.Fatalf("%d frames, %q %q: answered %v", len(message), first, second, len(g.done) == 1)
		}
		s := &labSub{topics: map[string]struct{}{}, queue: make(chan []byte, 1)}
		if topic, on, ok := parseSubscription(message); ok && on {
			if err := l.subscribe(s, topic, on); err != nil || !s.wants([]byte(topic+"x")) {
				t.Fatalf("subscription to %q: %v", topic, err)
			}
		}
	})
}

// What a peer says of itself in its READY.
func FuzzHello(f *testing.F) {
	f.Add("1", testArray, testArray, testArray, "control", byte(1))
	f.Add("2", "", "", "", "", byte(0))
	f.Fuzz(func(t *testing.T, version, array, node, session, role string, typ byte) {
		types := []zmtp.SocketType{zmtp.Pull, zmtp.Push, zmtp.Sub, "XSUB"}
		h, err := parseHello(zmtp.Peer{Type: types[typ%4], Properties: zmtp.Properties{
			propVersion: version, propArray: array, propNode: node, propSession: session, propRole: role,
		}})
		if err != nil {
			return
		}
		if h.version != ProtocolVersion || !isID(string(h.node)) || !isID(string(h.session)) || h.role >= roleCount {
			t.Fatalf("hello came out as %+v", h)
		}
		if _, err := parseHello(zmtp.Peer{Type: types[typ%4], Properties: h.properties()}); err != nil {
			t.Fatalf("%+v does not survive the round trip: %v", h, err)
		}
	})
}
