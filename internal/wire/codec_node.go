package wire

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// deadline returns the end of the time for a request that arrived at the given time.
// It is the zero time when the request has no limit.
func deadline(arrived time.Time, remainingMS uint32) time.Time {
	if remainingMS == 0 {
		return time.Time{}
	}
	return arrived.Add(time.Duration(remainingMS) * time.Millisecond)
}

// nodeRequest is a request on port 5559 as the node reads it. Exactly one of the
// operations is set, or none in a heartbeat and in a lab controller's Get.
type nodeRequest struct {
	id        uint64
	name      raid.ChunkName
	remaining uint32
	commit    raid.Commit
	renewKey  bool
	told      Told
	get       *NodeGet
	delete    []raid.ChunkName
	list      *ListRequest
	verify    *wirepb.VerifyOp
	inspect   []raid.ChunkName
	trash     []raid.ChunkName
	keep      time.Duration // of trash
	scrub     bool          // a pass is to begin
	bad       *ListRequest  // of corrupt chunks
}

// heartbeat reports whether the request is a controller's heartbeat.
func (r *nodeRequest) heartbeat() bool { return r.id == 0 }

// decodeRequest parses a native controller's message on port 5559. A request that parses but asks
// for nonsense comes back with invalid set, as the answer to it. err means that the peer does not
// speak the protocol.
func decodeRequest(frame []byte, maxFrame int64) (r nodeRequest, invalid, err error) {
	var pb wirepb.GetdataRequest
	if err = proto.Unmarshal(frame, &pb); err != nil {
		return r, nil, fmt.Errorf("read request: %w", err)
	}
	r = nodeRequest{id: pb.RequestId, name: raid.ChunkName(pb.Filename), remaining: pb.RemainingMs, commit: commitOf(pb.CatalogCommit, pb.CommitMac)}
	if r.heartbeat() {
		r.renewKey, r.told = pb.RenewKey, toldBy(&pb)
		return r, nil, nil
	}
	switch op := pb.Op.(type) {
	case *wirepb.GetdataRequest_Get:
		r.get, invalid = decodeGet(r.name, op.Get, maxFrame)
	case *wirepb.GetdataRequest_Delete:
		r.delete, invalid = decodeNames(op.Delete.GetNames())
	case *wirepb.GetdataRequest_List:
		r.list, invalid = decodeList(op.List)
	case *wirepb.GetdataRequest_Verify:
		r.verify = op.Verify
		if !raid.ValidName(pb.Filename) || op.Verify.GetExpectedLength() > math.MaxInt64 {
			invalid = fmt.Errorf("read verify request: %w: %d bytes of %q", raid.ErrInvalid, op.Verify.GetExpectedLength(), clip(pb.Filename, 64))
		}
	case *wirepb.GetdataRequest_Inspect:
		r.inspect, invalid = decodeInspect(op.Inspect.GetNames())
	case *wirepb.GetdataRequest_Trash:
		r.keep = time.Duration(min(op.Trash.GetKeepSeconds(), maxKeepSeconds)) * time.Second
		r.trash, invalid = decodeNames(op.Trash.GetNames())
	case *wirepb.GetdataRequest_Scrub:
		r.scrub = true
	case *wirepb.GetdataRequest_Bad:
		r.bad, invalid = decodeList(&wirepb.ListOp{After: op.Bad.GetAfter(), Limit: op.Bad.GetLimit()})
	default:
		invalid = fmt.Errorf("read request: %w: this node does not know what it asks for; upgrade raid-node", raid.ErrUnsupported)
	}
	return r, invalid, nil
}

func decodeGet(name raid.ChunkName, op *wirepb.GetOp, maxFrame int64) (*NodeGet, error) {
	off, n, total := op.GetOffset(), op.GetLength(), op.GetExpectedLength()
	switch {
	case !raid.ValidName(string(name)):
		return nil, fmt.Errorf("read get request: %w: %q is not a chunk name", raid.ErrInvalid, clip(string(name), 64))
	case total > math.MaxInt64 || off > total || n > total-off || n > uint64(maxFrame):
		return nil, fmt.Errorf("read get request for %s: %w: %d bytes at %d of %d", name, raid.ErrInvalid, n, off, total)
	case off%raid.BlockSize != 0 || n%raid.BlockSize != 0 && off+n != total:
		return nil, fmt.Errorf("read get request for %s: %w: %d bytes at %d of %d are not whole blocks", name, raid.ErrInvalid, n, off, total)
	}
	return &NodeGet{
		Name: name, Offset: int64(off), Length: int64(n), ExpectLength: int64(total), ExpectCRC: op.GetExpectedCrc32C(), Unchecked: op.GetUnchecked(),
	}, nil
}

func decodeNames(in []string) ([]raid.ChunkName, error) {
	if len(in) > maxNames {
		return nil, fmt.Errorf("read request: %w: %d names, at most %d fit", raid.ErrInvalid, len(in), maxNames)
	}
	names := make([]raid.ChunkName, len(in))
	for i, n := range in {
		if !raid.ValidName(n) {
			return nil, fmt.Errorf("read request: %w: %q is not a chunk name", raid.ErrInvalid, clip(n, 64))
		}
		names[i] = raid.ChunkName(n)
	}
	return names, nil
}

func decodeList(op *wirepb.ListOp) (*ListRequest, error) {
	if op.GetAfter() != "" && !raid.ValidName(op.GetAfter()) {
		return nil, fmt.Errorf("read list request: %w: %q is not a chunk name", raid.ErrInvalid, clip(op.GetAfter(), 64))
	}
	most := maxListed
	if op.GetDescribe() {
		most = maxDescribed
	}
	limit := int(min(op.GetLimit(), uint32(most)))
	if limit == 0 {
		limit = most
	}
	return &ListRequest{After: raid.ChunkName(op.GetAfter()), Limit: limit, MinRun: op.GetMinRun(), MaxRun: op.GetMaxRun(), describe: op.GetDescribe()}, nil
}

// nodeStore is a Store request as a native node reads it.
type nodeStore struct {
	id        uint64
	name      raid.ChunkName
	remaining uint32
	commit    raid.Commit
	req       StoreRequest
}

// decodeStore parses a native controller's message on port 5557, with invalid
// and err as in decodeRequest.
func decodeStore(frame, payload []byte) (s nodeStore, invalid, err error) {
	var pb wirepb.StoredataRequest
	if err = proto.Unmarshal(frame, &pb); err != nil {
		return s, nil, fmt.Errorf("read store request: %w", err)
	}
	if pb.RequestId == 0 {
		return s, nil, fmt.Errorf("read store request for %q: it has no request id", clip(pb.Filename, 64))
	}
	s = nodeStore{id: pb.RequestId, name: raid.ChunkName(pb.Filename), remaining: pb.RemainingMs, commit: commitOf(pb.CatalogCommit, pb.CommitMac)}
	s.req.Payload = payload
	s.req.Meta, invalid = decodeMeta(pb.Filename, s.commit, pb.Meta, int64(len(payload)))
	return s, invalid, nil
}

// commitOf reads a commit number that a controller tells.
func commitOf(number uint64, mac []byte) raid.Commit {
	return raid.Commit{Number: number, MAC: raid.CommitMACOf(mac)}
}
