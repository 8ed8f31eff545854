package sim

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// model holds what clients did and were told.
type model struct {
	w *world

	mu     sync.Mutex
	files  []*file
	ops    []*op
	faults []string
}

// file is one that a client uploads. No two have the same name or content.
type file struct {
	name    string
	content []byte
	id      int64 // 0: no client was told
	gone    bool  // a delete was acknowledged
	doomed  bool  // one was tried
	undone  bool  // it was tried to put it back
}

// opKind says what a request does with a file.
type opKind int

const (
	opCreate opKind = iota
	opRead
	opDelete
	opList
	opUndelete
)

// outcome is the answer that the client was told.
type outcome int

const (
	unknownOutcome outcome = iota
	present                // it was there: made, read, listed, deleted
	absent                 // it was not
)

// op is a request about a file.
type op struct {
	client    string
	kind      opKind
	file      *file
	from, to  time.Duration
	out       outcome
	forgotten bool // it tells nothing
	was       string
}

func newModel(w *world) *model { return &model{w: w} }

// fault takes note of a promise that was broken.
func (m *model) fault(text string, args ...any) {
	line := fmt.Sprintf(text, args...)
	m.w.note("FAULT: " + line)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, fmt.Sprintf("at %v: %s", m.w.now(), line))
}

func (m *model) failed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.faults) > 0
}

func (m *model) add(f *file) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files = append(m.files, f)
}

func (m *model) begin(client string, kind opKind, f *file) *op {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := &op{client: client, kind: kind, file: f, from: m.w.now(), to: math.MaxInt64}
	f.doomed = f.doomed || kind == opDelete
	f.undone = f.undone || kind == opUndelete
	m.ops = append(m.ops, o)
	return o
}

func (m *model) ended(o *op, out outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o.to, o.out = m.w.now(), out
	if o.kind == opDelete && out == present {
		o.file.gone = true
	}
}

func (m *model) created(o *op, id int64) {
	m.ended(o, present)
	m.mu.Lock()
	defer m.mu.Unlock()
	o.file.id = id
}

// unknown is said of requests that no answer came to, or one that leaves open what
// became of it. What they may have done counts for ever; what they only looked at, not.
func (m *model) unknown(o *op, a answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o.was = fmt.Sprint(a.status)
	if o.kind == opRead || o.kind == opList {
		o.forgotten = true
	}
}

// drop is said of requests that were refused, for whatever reason.
func (m *model) drop(o *op, a answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o.was, o.forgotten = fmt.Sprint(a.status), true
}

// beginList begins one look at every file that is known by now.
func (m *model) beginList(client string) (ops []*op) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.files {
		o := &op{client: client, kind: opList, file: f, from: m.w.now(), to: math.MaxInt64, forgotten: true}
		m.ops = append(m.ops, o)
		ops = append(ops, o)
	}
	return ops
}

func (m *model) endList(ops []*op, got []listed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	there := map[string]int{}
	for _, l := range got {
		there[l.Filename]++
	}
	for _, o := range ops {
		o.to, o.forgotten, o.out = m.w.now(), false, absent
		if there[o.file.name] > 0 {
			o.out = present
		}
	}
}

// choose returns a file that a client was told of, or nil.
func (m *model) choose(index int, deleted bool) *file {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(m.files), func(f *file) bool { return f.id == 0 || f.doomed && !deleted })
	if len(all) == 0 {
		return nil
	}
	return all[index%len(all)]
}

// checkHistory asks porcupine whether there is a right order of each file's requests. In it each
// takes effect at some moment between its begin and its end, and every answer is right.
func (m *model) checkHistory() {
	byFile := map[*file][]porcupine.Operation{}
	for _, o := range m.ops {
		if !o.forgotten {
			byFile[o.file] = append(byFile[o.file], porcupine.Operation{
				ClientId: len(byFile[o.file]), Input: o.kind, Output: o.out, Call: int64(o.from), Return: int64(o.to),
			})
		}
	}
	for _, f := range m.files {
		if len(byFile[f]) > 0 && !porcupine.CheckOperations(lifeOfAFile, byFile[f]) {
			m.fault("the answers about %s (file %d) fit no order of the requests: %s", f.name, f.id, m.historyOf(f))
		}
	}
}

func (m *model) historyOf(f *file) (text string) {
	names := map[opKind]string{opCreate: "create", opRead: "read", opDelete: "delete", opList: "list", opUndelete: "undelete"}
	outs := map[outcome]string{unknownOutcome: "?", present: "there", absent: "not there"}
	for _, o := range m.ops {
		if o.file == f && !o.forgotten {
			text += fmt.Sprintf("\n\t%s %s %v", o.client, names[o.kind], o.from)
			if o.to != math.MaxInt64 {
				text += fmt.Sprintf(" to %v", o.to)
			}
			text += ": " + outs[o.out] + " " + o.was
		}
	}
	return text
}

// The life of a file: it is not there, is there, is gone, and may be put back.
const (
	unborn = iota
	alive
	gone
)

var lifeOfAFile = porcupine.Model{
	Init: func() any { return unborn },
	Step: func(state, input, output any) (bool, any) {
		s, out := state.(int), output.(outcome)
		switch input.(opKind) {
		case opCreate:
			if s == unborn {
				return true, alive
			}
			return out == unknownOutcome, s
		case opDelete:
			switch {
			case out == unknownOutcome && s == alive, out == present && s == alive:
				return true, gone
			case out == unknownOutcome:
				return true, s
			}
			return out == absent && s != alive, s
		case opUndelete:
			switch {
			case s == gone, s == alive: // where it is there, nothing is to be done
				return true, alive
			case out == unknownOutcome:
				return true, s
			}
			return false, s
		}
		return (out == present) == (s == alive), s
	},
	Equal: func(a, b any) bool { return a == b },
}

// hash is of all that clients did and were told, and when.
func (m *model) hash() uint64 {
	h := fnv.New64a()
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := make([]string, 0, len(m.ops))
	for _, o := range m.ops {
		lines = append(lines, fmt.Sprintln(o.from, o.client, o.kind, o.file.name, o.file.id, o.to, o.out, o.was, o.forgotten))
	}
	slices.Sort(lines)
	for _, l := range lines {
		h.Write([]byte(l))
	}
	return h.Sum64()
}
