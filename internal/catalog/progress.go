package catalog

import (
	"cmp"
	"os"
	"sync"
	"time"
)

// lookEvery is the interval of the looks at a long step of Open: often enough for a
// service manager that waits for a sign of life, seldom enough to cost nothing.
const lookEvery = time.Second

// progress tells that a long step of Open gets on. It goes by what reaches the
// files, never by the time alone: a step that hangs, or a disk that no longer
// answers, is not told of.
type progress struct {
	tell  func(step string, done, total int64) // nil: nobody wants to know
	every time.Duration
}

// during runs work and, as long as it runs, tells of step each time that moved
// has something new to say. moved is called by one other goroutine, which has
// ended when during returns.
func (p progress) during(step string, total int64, moved func() (done int64, news bool), work func() error) error {
	if p.tell == nil {
		return work()
	}
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if done, news := moved(); news {
				p.tell(step, done, total)
			}
		}
	})
	defer watch.Wait()
	defer close(stop)
	return work()
}

// file is what is looked at of a file that grows.
type file interface {
	Stat() (os.FileInfo, error)
	Sync() error
}

// filling runs work, which fills f, flushes f, and tells of it meanwhile.
func (p progress) filling(step string, total int64, f file, work func() error) error {
	g := growth{file: f}
	err := p.during(step, total, g.look, func() error {
		if err := work(); err != nil {
			return err
		}
		return f.Sync()
	})
	return cmp.Or(err, g.failed)
}

// growth looks at a file that grows.
type growth struct {
	file   file
	last   int64
	failed error // of a flush: the system tells of lost bytes once, so the next says nothing
}

// look tells how much of the file is on disk, and whether that is more than at the
// last call. It flushes what is new: bytes that a dead disk has not taken are no
// progress.
func (g *growth) look() (int64, bool) {
	st, err := g.file.Stat()
	if err != nil || st.Size() <= g.last || g.failed != nil {
		return g.last, false
	}
	if g.failed = g.file.Sync(); g.failed != nil {
		return g.last, false
	}
	g.last = st.Size()
	return g.last, true
}

// touched tells the size of files together, and whether one of them was written
// since the last call.
func touched(paths ...string) func() (int64, bool) {
	type look struct {
		size    int64
		written time.Time
	}
	last := make([]look, len(paths))
	see := func() (sum int64, news bool) {
		for i, path := range paths {
			now := look{}
			if st, err := os.Stat(path); err == nil {
				now = look{st.Size(), st.ModTime()}
			}
			news = news || now != last[i]
			last[i], sum = now, sum+now.size
		}
		return sum, news
	}
	see()
	return see
}
