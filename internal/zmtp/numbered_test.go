package zmtp

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
)

// numbered is the body of message i, as in testdata/peer.py.
func numbered(i, size int) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, uint64(i)), size/8+1)[:size]
}

// receiveNumbered compares count messages with what libzmq's side sends.
func receiveNumbered(t *testing.T, c *Conn, count int, sizes []int, skip string) {
	t.Helper()
	for i := 0; i < count; {
		m, err := c.Receive(nil)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if skip != "" && string(m.Frames[0]) == skip {
			continue
		}
		want := numbered(i, sizes[i%len(sizes)])
		if len(m.Frames) != 2 || string(m.Frames[0]) != strconv.Itoa(i) || !bytes.Equal(m.Frames[1], want) {
			t.Fatalf("message %d arrived as %.60q", i, m.Frames)
		}
		m.Release()
		i++
	}
}

func sendNumbered(t *testing.T, c *Conn, count int, sizes []int) {
	t.Helper()
	for i := range count {
		if err := c.Send(t.Context(), strconv.AppendInt(nil, int64(i), 10), numbered(i, sizes[i%len(sizes)])); err != nil {
			t.Errorf("message %d: %v", i, err)
			return
		}
	}
}

// listen calls Receive until the connection ends, as PING must be answered.
func listen(t *testing.T, c *Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := c.Receive(nil); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
}

func ints(s string) (out []int) {
	for _, f := range strings.Split(s, ",") {
		n, _ := strconv.Atoi(f)
		out = append(out, n)
	}
	return out
}
