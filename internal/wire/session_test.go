package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestEveryRequestReachesItsNode(t *testing.T) {
	everyRequestReachesItsNode(t, startHub(t, &loopback{}, nil), nil)
}

func everyRequestReachesItsNode(t *testing.T, th *testHub, change func(*LinkConfig)) {
	t.Helper()
	node := newMemNode()
	startLink(t, th, node, change)
	s := th.events.next(t, "up").sess
	ctx := within(t, 10*time.Second)
	up := newUpload(t, 3)

	for _, n := range []int{0, 1, 2048, raid.BlockSize, raid.BlockSize + 1, 2 << 20, 5<<20 + 17} {
		req := up.store(randomBytes(n))
		if n == 0 {
			req.Meta.File = &raid.FileMeta{ID: 9, Filename: "ünï\ncode", ContentType: "text/plain", Created: "2020-01-01 00:00:00", Size: 5, SHA256: [32]byte{1, 2}, Stripes: 1}
		}
		if err := s.Store(ctx, req); err != nil {
			t.Fatalf("store %d bytes: %v", n, err)
		}
		kept, err := node.find(req.Meta.Key.Name())
		if err != nil || !bytes.Equal(kept.data, req.Payload) {
			t.Fatalf("the node has other bytes: %v", err)
		}
		if fmt.Sprintf("%+v", kept.meta.Key) != fmt.Sprintf("%+v", req.Meta.Key) || kept.meta.Array != testArray ||
			kept.meta.StripeSize != 4<<20 || kept.meta.Level != "raid1" || kept.meta.Commit != 7 || kept.meta.CommitMAC != (raid.CommitMAC{7, 1}) {
			t.Fatalf("the node was told %+v, want %+v", kept.meta, req.Meta)
		}
		if n == 0 && (kept.meta.File == nil || *kept.meta.File != *req.Meta.File) {
			t.Fatalf("the node was told of the file %+v", kept.meta.File)
		}
		get := wholeGet(req)
		res, err := s.Get(ctx, get)
		if err != nil || !bytes.Equal(get.Dst, req.Payload) {
			t.Fatalf("get %d bytes: %v", n, err)
		}
		if crc, ok := raid.CombineBlocks(res.Blocks, res.Length); !ok || crc != get.ExpectCRC {
			t.Fatalf("blocks combine to %08x, want %08x", crc, get.ExpectCRC)
		}
		if err := s.Verify(ctx, get.Name, int64(n), get.ExpectCRC); err != nil {
			t.Fatalf("verify: %v", err)
		}
		wantError(t, s.Verify(ctx, get.Name, int64(n), get.ExpectCRC+1), raid.ErrCorrupt)
	}
	if seen := node.seen(); seen != 7 {
		t.Fatalf("the node saw commit %d, want 7", seen)
	}
	if b := s.Heartbeat(); b.Zone != "shelf" || b.FreeBytes != 50 || s.Addr() == "" || s.Outstanding() != 0 || s.StuckFor() != 0 {
		t.Fatalf("session says %+v %q %d %v", b, s.Addr(), s.Outstanding(), s.StuckFor())
	}
	kit.Eventually(t, "heartbeats are reported", func() bool { return th.events.beatsOf(s.Node()) > 2 })
	kit.Eventually(t, "the node tells the number back with its proof", func() bool {
		return s.Heartbeat().Proven == raid.Commit{Number: 7, MAC: raid.CommitMAC{7, 1}}
	})
}

func TestRangesAreWholeBlocks(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	startLink(t, th, newMemNode(), nil)
	s := th.events.next(t, "up").sess
	ctx := within(t, 10*time.Second)
	req := newUpload(t, 1).store(randomBytes(3*raid.BlockSize + 100))
	if err := s.Store(ctx, req); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{0, raid.BlockSize}, {raid.BlockSize, 2 * raid.BlockSize}, {3 * raid.BlockSize, 100}, {raid.BlockSize, 2*raid.BlockSize + 100}, {raid.BlockSize, 0}} {
		get := wholeGet(req)
		get.Offset, get.Length = r[0], r[1]
		get.Dst = make([]byte, r[1])
		if _, err := s.Get(ctx, get); err != nil || !bytes.Equal(get.Dst, req.Payload[r[0]:r[0]+r[1]]) {
			t.Fatalf("range %v: %v", r, err)
		}
	}
	for _, r := range [][2]int64{{1, raid.BlockSize}, {0, 100}, {3 * raid.BlockSize, 101}, {1 << 62, raid.BlockSize}, {-raid.BlockSize, raid.BlockSize}} {
		get := wholeGet(req)
		get.Offset, get.Length = r[0], r[1]
		get.Dst = make([]byte, r[1])
		_, err := s.Get(ctx, get)
		wantError(t, err, raid.ErrInvalid)
	}
}

func TestDeleteAndListManyNames(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	node := newMemNode()
	startLink(t, th, node, nil)
	s := th.events.next(t, "up").sess
	ctx := within(t, 20*time.Second)
	run1, run2 := newUpload(t, 1), newUpload(t, 2)
	var names []raid.ChunkName
	for i := range 2300 {
		u := run1
		if i%2 == 1 {
			u = run2
		}
		req := u.store(nil)
		names = append(names, req.Meta.Key.Name())
		node.put(req)
	}
	list := func(minRun, maxRun uint32) (all []raid.ChunkName) {
		req := ListRequest{MinRun: minRun, MaxRun: maxRun}
		for {
			got, more, err := s.List(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, got...)
			if !more {
				return all
			}
			req.After = got[len(got)-1]
		}
	}
	if n := len(list(0, 10)); n != 2300 {
		t.Fatalf("listed %d names", n)
	}
	req := run1.store(nil)
	for i := range 500 { // names of a lab's kind fill an answer sooner
		node.alias(raid.ChunkName(fmt.Sprintf("z%063d", i)), req)
	}
	if n := len(list(1, 2)); n != 1650 {
		t.Fatalf("listed %d names of run 1 and others", n)
	}
	for i := range 500 {
		node.Delete(ctx, []raid.ChunkName{raid.ChunkName(fmt.Sprintf("z%063d", i))})
	}
	if n := len(list(1, 2)); n != 1150 {
		t.Fatalf("listed %d names of run 1", n)
	}
	node.setBefore(func(_ context.Context, what string, name raid.ChunkName) error {
		if name == names[1500] {
			return raid.ErrReadOnly
		}
		return nil
	})
	errs, err := s.Delete(ctx, append(names, names[0]))
	if err != nil || len(errs) != 2301 {
		t.Fatalf("%d outcomes, %v", len(errs), err)
	}
	for i, err := range errs {
		switch i {
		case 1500:
			wantError(t, err, raid.ErrReadOnly)
		case 2300:
			wantError(t, err, raid.ErrNotFound)
		default:
			if err != nil {
				t.Fatalf("name %d: %v", i, err)
			}
		}
	}
	if n := len(list(0, 10)); n != 1 {
		t.Fatalf("%d names are left", n)
	}
}

func TestNodesErrorsComeBackAsSentinels(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	node := newMemNode()
	say := func(err error) {
		node.setBefore(func(context.Context, string, raid.ChunkName) error { return err })
	}
	startLink(t, th, node, nil)
	s := th.events.next(t, "up").sess
	ctx := within(t, 10*time.Second)
	up := newUpload(t, 1)
	for _, want := range []error{raid.ErrNotFound, raid.ErrCorrupt, raid.ErrNoSpace, raid.ErrReadOnly, raid.ErrBusy, raid.ErrUnsupported, raid.ErrExpired, raid.ErrInvalid} {
		say(fmt.Errorf("read the disk: %w: smoke", want))
		err := s.Store(ctx, up.store([]byte("x")))
		wantError(t, err, want)
		if !bytes.Contains([]byte(err.Error()), []byte("smoke")) {
			t.Fatalf("%v does not say what the node said", err)
		}
		_, err = s.Get(ctx, wholeGet(up.store([]byte("x"))))
		wantError(t, err, want)
	}
	say(errors.New("\xff\xfe" + string(randomBytes(5000))))
	if err := s.Store(ctx, up.store([]byte("x"))); err == nil || len(err.Error()) > 1300 {
		t.Fatalf("a long, broken text came back as %v", err)
	}
	say(nil)
	if err := s.Store(ctx, up.store([]byte("x"))); err != nil {
		t.Fatalf("after errors: %v", err)
	}
}

func TestStoreThatDoesNotFitIsRefusedAndHarmless(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.MaxFrame = 1 << 20 })
	startLink(t, th, newMemNode(), nil)
	s := th.events.next(t, "up").sess
	ctx := within(t, 10*time.Second)
	up := newUpload(t, 1)
	wantError(t, s.Store(ctx, up.store(make([]byte, 1<<20+1))), raid.ErrInvalid)
	long := up.store(nil)
	long.Meta.File = &raid.FileMeta{Filename: string(make([]byte, 200<<10))}
	wantError(t, s.Store(ctx, long), raid.ErrInvalid)
	broken := up.store(nil)
	broken.Meta.File = &raid.FileMeta{Filename: "\xff"}
	wantError(t, s.Store(ctx, broken), raid.ErrInvalid)
	lies := up.store([]byte("abc"))
	lies.Meta.Length = 4
	wantError(t, s.Store(ctx, lies), raid.ErrInvalid)
	if err := s.Store(ctx, up.store(make([]byte, 1<<20))); err != nil || s.Outstanding() != 0 {
		t.Fatalf("%v, %d outstanding", err, s.Outstanding())
	}
}

func TestConcurrentRequestsGetTheirOwnAnswers(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	var sessions []*Session
	for range 3 {
		startLink(t, th, newMemNode(), nil)
		sessions = append(sessions, th.events.next(t, "up").sess)
	}
	ctx := within(t, 30*time.Second)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			up := newUpload(t, 1)
			for i := range 25 {
				s := sessions[mrand.IntN(3)]
				n := mrand.IntN(4096)
				if i%10 == 0 {
					n = mrand.IntN(1 << 20)
				}
				req := up.store(randomBytes(n))
				if err := s.Store(ctx, req); err != nil {
					t.Errorf("store: %v", err)
					return
				}
				get := wholeGet(req)
				if _, err := s.Get(ctx, get); err != nil || !bytes.Equal(get.Dst, req.Payload) {
					t.Errorf("get: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
