package liar

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// Op names a request of the controller.
type Op string

// What the controller asks for. That of the Store connection is named like it.
const (
	Get    Op = "get"
	Delete Op = "delete"
	List   Op = "list"
	Verify Op = "verify"
	Keep   Op = "store"
)

// Asked is a request of the controller. What does not belong to its Op is zero.
type Asked struct {
	Op      Op
	Name    string   // of the chunk
	Names   []string // of a Delete
	Payload []byte   // of a Keep
	Head    *wirepb.StoredataRequest
	Request *wirepb.GetdataRequest // of all others
}

// Answer is the liar's answer to the controller. It goes over the data connection when it has a
// Payload or Data says so, else over the control connection.
type Answer struct {
	*Response
	Payload []byte
	Data    bool
}

// Errors that an answer's Error can be.
const (
	OK       = wirepb.Error_OK
	NotFound = wirepb.Error_NOT_FOUND
	Corrupt  = wirepb.Error_CORRUPT
	NoSpace  = wirepb.Error_NO_SPACE
	ReadOnly = wirepb.Error_READ_ONLY
	Busy     = wirepb.Error_BUSY
)

// Answerer gets each request with the honest answer, and returns what is sent: that,
// changed or not, or another one. Nil is silence. Each call has a goroutine of its own,
// so one that waits holds up nothing else; its context ends with the session.
//
// What a request asks for has been done already: a chunk is kept, or gone.
type Answerer func(ctx context.Context, req *Asked, honest *Answer) *Answer

// Answer has reply called for each request. Nil: it is honest.
func (l *Liar) Answer(reply Answerer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reply = reply
}

// Hang never answers these, and is honest else.
func Hang(ops ...Op) Answerer {
	return func(_ context.Context, req *Asked, honest *Answer) *Answer {
		if slices.Contains(ops, req.Op) {
			return nil
		}
		return honest
	}
}

// SetNames makes names the answer to a List.
func (a *Answer) SetNames(names []string, more bool) {
	a.Error = OK
	a.Result = &wirepb.Response_List{List: &wirepb.ListResult{Names: names, More: more}}
}

// Fail makes an error the answer.
func (a *Answer) Fail(code wirepb.Error, text string) {
	a.Error, a.ErrorText, a.Result, a.Payload, a.Data = code, text, nil, nil, false
}

// Chunks are the names of the chunks that it keeps, sorted.
func (l *Liar) Chunks() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.chunks))
}

type chunk struct {
	payload []byte
	blocks  []uint32
}

// serve answers until the session is over.
func (l *Liar) serve(s *session) {
	// What ends one connection ends all.
	read := func(r Role, take func(frames [][]byte) error) {
		s.tasks.Go(func() {
			defer s.end()
			for {
				m, err := s.conns[r].Receive(nil)
				if err != nil {
					return
				}
				err = take(m.Frames)
				m.Release()
				if err != nil {
					return
				}
			}
		})
	}
	ignore := func([][]byte) error { return nil }
	read(Control, ignore)
	read(Data, ignore)
	read(Store, func(frames [][]byte) error { return l.takeStore(s, frames) })
	read(Request, func(frames [][]byte) error { return l.takeRequest(s, frames) })
}

func (l *Liar) takeStore(s *session, frames [][]byte) error {
	if len(frames) != 2 {
		return fmt.Errorf("a store request of %d frames", len(frames))
	}
	head := new(wirepb.StoredataRequest)
	if err := proto.Unmarshal(frames[0], head); err != nil {
		return err
	}
	l.hear(head.CatalogCommit, head.CommitMac)
	l.handle(s, &Asked{Op: Keep, Name: head.Filename, Payload: slices.Clone(frames[1]), Head: head}, head.RequestId)
	return nil
}

func (l *Liar) takeRequest(s *session, frames [][]byte) error {
	req := new(wirepb.GetdataRequest)
	if err := proto.Unmarshal(frames[0], req); err != nil {
		return err
	}
	l.hear(req.CatalogCommit, req.CommitMac)
	asked := &Asked{Name: req.Filename, Request: req}
	switch op := req.Op.(type) {
	case nil:
		return l.SendHeartbeat(s.ctx)
	case *wirepb.GetdataRequest_Get:
		asked.Op = Get
	case *wirepb.GetdataRequest_Delete:
		asked.Op, asked.Names = Delete, op.Delete.GetNames()
	case *wirepb.GetdataRequest_List:
		asked.Op = List
	case *wirepb.GetdataRequest_Verify:
		asked.Op = Verify
	}
	l.handle(s, asked, req.RequestId)
	return nil
}

func (l *Liar) hear(commit uint64, mac []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = l.heard.Higher(raid.Commit{Number: commit, MAC: raid.CommitMACOf(mac)})
}

func (l *Liar) handle(s *session, req *Asked, id uint64) {
	s.tasks.Go(func() {
		a := &Answer{Response: &Response{RequestId: id, Filename: req.Name}}
		l.honest(req, a)
		l.mu.Lock()
		reply := l.reply
		l.mu.Unlock()
		if reply != nil {
			a = reply(s.ctx, req, a)
		}
		if a == nil {
			return
		}
		frame, err := proto.Marshal(a.Response)
		if err != nil {
			return
		}
		// A connection that has ended ends the readers too.
		if a.Data || a.Payload != nil {
			_ = s.conns[Data].Send(s.ctx, frame, a.Payload)
		} else {
			_ = s.conns[Control].Send(s.ctx, frame)
		}
	})
}

// honest does what is asked and answers as a node does.
func (l *Liar) honest(req *Asked, a *Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.chunks[req.Name]
	switch req.Op {
	case Keep:
		l.chunks[req.Name] = &chunk{req.Payload, raid.BlockChecksums(req.Payload)}
	case Delete:
		result := &wirepb.DeleteResult{}
		for _, name := range req.Names {
			code := OK
			if l.chunks[name] == nil {
				code = NotFound
			}
			delete(l.chunks, name)
			result.Errors = append(result.Errors, code)
		}
		a.Result = &wirepb.Response_Delete{Delete: result}
	case List:
		l.list(req.Request.GetList(), a)
	case Get, Verify:
		l.show(req, c, a)
	}
}

func (l *Liar) list(op *wirepb.ListOp, a *Answer) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(l.chunks)) {
		key, err := raid.ParseChunkName(raid.ChunkName(name))
		if run := key.Upload.Run(); err == nil && name > op.After && run >= op.MinRun && run < op.MaxRun {
			names = append(names, name)
		}
	}
	n := min(len(names), int(op.Limit))
	a.SetNames(names[:n], n < len(names))
}

func (l *Liar) show(req *Asked, c *chunk, a *Answer) {
	if c == nil {
		a.Fail(NotFound, "no such chunk")
		return
	}
	length := int64(len(c.payload))
	crc, _ := raid.CombineBlocks(c.blocks, length)
	if req.Op == Verify {
		op := req.Request.GetVerify()
		if op.GetExpectedLength() != uint64(length) || op.GetExpectedCrc32C() != crc {
			a.Fail(Corrupt, "not what is expected")
		}
		return
	}
	op := req.Request.GetGet()
	if op.ExpectedLength != uint64(length) || op.Offset+op.Length > uint64(length) {
		a.Fail(Corrupt, "not what is expected")
		return
	}
	a.Result = &wirepb.Response_Get{Get: &wirepb.GetResult{Length: uint64(length), BlockCrc32C: c.blocks}}
	a.Payload, a.Data = slices.Clone(c.payload[op.Offset:op.Offset+op.Length]), true
}
