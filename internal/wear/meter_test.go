package wear

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// shelf keeps a record, and counts how often it was written.
type shelf struct {
	mu    sync.Mutex
	text  string
	saves int
	fails error
}

func (s *shelf) WearRecord() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text, s.fails
}

func (s *shelf) SaveWearRecord(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saves++; s.fails == nil {
		s.text = text
	}
	return s.fails
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saves
}

// rig is a meter on a machine with an SD card.
type rig struct {
	*machine
	shelf  *shelf
	stored atomic.Int64
	meter  *Meter
	stop   func()
}

func newRig(t *testing.T) *rig {
	r := &rig{machine: newMachine(t), shelf: &shelf{}}
	r.disk("mmcblk0", "179:0", [2]string{"mmcblk0p2", "179:2"})
	r.write("sys/block/mmcblk0/device/type", "SD\n")
	r.write("sys/block/mmcblk0/device/cid", "first card\n")
	return r
}

// start begins a life of the node, in which nothing is stored yet.
func (r *rig) start() {
	r.stored.Store(0)
	r.meter = New(Config{
		Machine: r.fs(), Dir: "/chunks", Device: numbered(179, 2), ID: "disk", Records: r.shelf, Stored: r.stored.Load,
		Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); r.meter.Run(ctx) }()
	r.stop = func() { cancel(); <-over }
	synctest.Wait()
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestWhatIsWrittenIsCountedByDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.wrote("mmcblk0", 9*gib) // by the start of the machine: not while the node runs
		r.start()
		r.wrote("mmcblk0", 11*gib)
		r.stored.Store(gib)
		r.pass(12 * time.Hour)
		w := r.meter.Wear()
		if w.Source != raid.WearOfDevice || w.Written != 2*gib || w.Stored != gib || w.Running != 12*time.Hour {
			t.Errorf("after half a day %+v", w)
		}
		if n, known := w.PerDay(); !known || n != 4*gib {
			t.Errorf("%d a day, known %v", n, known)
		}
		if n, known := w.PerByte(); !known || n != 2 {
			t.Errorf("%v for each byte stored, known %v", n, known)
		}
		r.pass(13 * time.Hour)
		r.wrote("mmcblk0", 12*gib)
		r.pass(time.Hour)
		w = r.meter.Wear()
		first := raid.WearDay{Running: 24 * time.Hour, Written: 2 * gib, Stored: gib}
		now := raid.WearDay{Running: 2 * time.Hour, Written: gib}
		if w.Days[1] != first || w.Days[0] != now || w.Written != 3*gib {
			t.Errorf("on the second day %+v", w.Days)
		}
		r.stop()
	})
}

func TestTheLastDaysAreKept(t *testing.T) {
	m := New(Config{})
	for hour := range 10*24 + 3 {
		m.add(raid.WearDay{Running: time.Hour, Written: int64(hour / 24), Stored: 1})
	}
	w := m.Wear()
	if w.Running != 243*time.Hour || w.Stored != 243 || w.Written != 24*45+3*10 {
		t.Errorf("all in all %+v", w)
	}
	if w.Days[0] != (raid.WearDay{Running: 3 * time.Hour, Written: 30, Stored: 3}) {
		t.Errorf("today %+v", w.Days[0])
	}
	for i, d := range w.Days[1:] {
		if d != (raid.WearDay{Running: day, Written: 24 * int64(9-i), Stored: 24}) {
			t.Errorf("%d days ago %+v", i+1, d)
		}
	}
	m.add(raid.WearDay{Running: 200 * 365 * day, Written: most, Stored: most})
	m.add(raid.WearDay{Running: 200 * 365 * day, Written: most, Stored: most})
	if w := m.Wear(); w.Written != most || w.Stored != most || w.Running != 2*longestDay+243*time.Hour || w.Days[0].Running != longestDay {
		t.Errorf("what can't be is %+v", w)
	}
}

func TestCountsGoOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.wrote("mmcblk0", 5*gib)
		r.stored.Store(2 * gib)
		r.pass(time.Hour)
		r.stop()
		before := r.meter.Wear()

		r.wrote("mmcblk0", 100*gib) // while the node was off
		r.start()
		w := r.meter.Wear()
		if w.Running != before.Running || w.Written != before.Written || w.Stored != before.Stored || w.Days != before.Days {
			t.Errorf("after a restart %+v\nbefore %+v", w, before)
		}
		r.wrote("mmcblk0", 101*gib)
		r.pass(time.Minute)
		if w := r.meter.Wear(); w.Written != 6*gib || w.Stored != 2*gib || w.Days[0].Running != time.Hour+time.Minute {
			t.Errorf("it goes on as %+v", w)
		}
		r.stop()

		r.write("sys/block/mmcblk0/device/cid", "second card\n")
		r.start()
		if w := r.meter.Wear(); w.Written != 0 || w.Running != 0 {
			t.Errorf("another card begins as %+v", w)
		}
		r.stop()

		r.shelf.text = strings.Replace(r.shelf.text, "written", "wrotten", 1)
		r.start()
		if w := r.meter.Wear(); w.Written != 0 || w.Source != raid.WearOfDevice {
			t.Errorf("a record that is damaged reads as %+v", w)
		}
		r.stop()
	})
}

// An idle node writes nothing for this, and a busy one a record an hour.
func TestTheRecordIsWrittenOnlyWhenChunksWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		for i := range 20 {
			r.wrote("mmcblk0", uint64(i)*mib) // by others
			r.pass(time.Hour)
		}
		if n := r.shelf.count(); n != 0 {
			t.Errorf("an idle node wrote %d records", n)
		}
		for range 600 {
			r.stored.Add(kib)
			r.pass(time.Minute)
		}
		if n := r.shelf.count(); n < 9 || n > 11 {
			t.Errorf("in ten busy hours %d records were written", n)
		}
		n := r.shelf.count()
		r.pass(20 * time.Hour)
		if now := r.shelf.count(); now != n {
			t.Errorf("idle again, it wrote %d records", now-n)
		}
		r.stop()

		n = r.shelf.count()
		for range 10 {
			r.start()
			r.pass(time.Minute)
			r.stop()
		}
		if now := r.shelf.count(); now != n {
			t.Errorf("ten short lives without a chunk wrote %d records", now-n)
		}
	})
}

func TestARecordThatCantBeWrittenStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.shelf.fails = errors.New("no room")
		r.start()
		for range 5 {
			r.stored.Add(mib)
			r.pass(time.Hour)
		}
		r.stop()
		if w := r.meter.Wear(); w.Stored != 5*mib {
			t.Errorf("%+v", w)
		}
		if n := r.shelf.count(); n < 4 || n > 6 {
			t.Errorf("it was tried %d times in five hours", n)
		}
	})
}

func TestTooLittleVoltageIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const alarm = "sys/class/hwmon/hwmon1/in0_lcrit_alarm"
		r := newRig(t)
		r.start()
		if p := r.meter.Wear().Power; p != "" {
			t.Errorf("no Pi: %q", p)
		}
		r.write("sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
		r.write("sys/class/hwmon/hwmon1/name", "rpi_volt\n")
		r.write(alarm, "0\n")
		wants := func(want raid.PowerState) {
			t.Helper()
			if p := r.meter.Wear().Power; p != want {
				t.Errorf("%q, want %q", p, want)
			}
		}
		r.pass(2 * time.Minute) // the driver came late
		wants(raid.PowerGood)
		r.write(alarm, "nonsense\n")
		r.pass(3 * time.Second)
		wants("") // which is not good
		r.write(alarm, "0\n")
		r.pass(3 * time.Second)
		wants(raid.PowerGood)
		r.write("sys/class/hwmon/hwmon1/name", "other\n") // its driver was unloaded
		r.pass(2 * time.Minute)
		wants("")
		r.write("sys/class/hwmon/hwmon1/name", "rpi_volt\n")
		r.pass(2 * time.Minute)
		wants(raid.PowerGood)
		r.write(alarm, "1\n")
		r.pass(3 * time.Second) // the kernel says so for two seconds
		wants(raid.PowerLow)
		r.write(alarm, "0\n")
		r.pass(3 * time.Second)
		wants(raid.PowerWasLow)
		r.pass(time.Hour)
		wants(raid.PowerWasLow)
		r.write(alarm, "nonsense\n")
		r.pass(time.Minute)
		wants(raid.PowerWasLow)
		r.stop()
		r.write(alarm, "0\n")
		r.start()
		wants(raid.PowerGood)
		r.stop()
	})
}

// A disk that shows no numbers any more ends no count.
func TestAKernelThatShowsNothingForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.start()
		r.wrote("mmcblk0", mib)
		r.pass(time.Minute)
		r.write("sys/devices/platform/some/bus/block/mmcblk0/stat", "garbage\n")
		r.pass(time.Minute)
		r.wrote("mmcblk0", 3*mib)
		r.pass(time.Minute)
		if w := r.meter.Wear(); w.Written != 3*mib || w.Running != 3*time.Minute {
			t.Errorf("%+v", w)
		}
		r.stop()
	})
}

// hung is a machine of which a file is read for ever.
type hung struct {
	fs.FS
	name    atomic.Pointer[string] // how its path ends
	opened  atomic.Int64
	release chan struct{}
}

func (h *hung) Open(name string) (fs.File, error) {
	if end := h.name.Load(); end != nil && strings.HasSuffix(name, *end) {
		h.opened.Add(1)
		<-h.release
	}
	return h.FS.Open(name)
}

func (h *hung) ReadLink(name string) (string, error)   { return fs.ReadLink(h.FS, name) }
func (h *hung) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(h.FS, name) }

// The counts go on, an orderly end waits no longer than a second, and the record is written. No
// more than one goroutine waits for the sensor.
func TestASensorThatHangsHoldsUpNothing(t *testing.T) {
	for what, name := range map[string]string{"of a disk": "temp1_input", "of the voltage": "in0_lcrit_alarm", "of the machine": "thermal_zone0/temp"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.disk("nvme0n1", "259:0")
				r.write("sys/block/nvme0n1/device/hwmon2/temp1_input", "40850\n")
				r.write("sys/class/thermal/thermal_zone0/temp", "50000\n")
				r.write("sys/class/hwmon/hwmon1/name", "rpi_volt\n")
				r.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
				h := &hung{FS: r.fs(), release: make(chan struct{})}
				m := New(Config{
					Machine: h, Dir: "/chunks", Device: numbered(259, 0), ID: "disk", Records: r.shelf, Stored: r.stored.Load,
					Log: slog.New(slog.DiscardHandler),
				})
				ctx, cancel := context.WithCancel(context.Background())
				over := make(chan struct{})
				go func() { defer close(over); m.Run(ctx) }()
				r.pass(time.Minute + time.Second)
				if w := m.Wear(); w.Heat == 0 || w.CardHeat == 0 || w.Power != raid.PowerGood {
					t.Fatalf("before it hangs: %+v", w)
				}
				h.name.Store(&name)
				r.wrote("nvme0n1", 3*mib)
				r.stored.Store(mib)
				r.pass(10 * time.Minute)
				w := m.Wear()
				if w.Written != 3*mib || w.Stored != mib || w.Running < 10*time.Minute {
					t.Errorf("while it hangs %+v was counted", w)
				}
				if w.Heat != 0 || w.CardHeat != 0 {
					t.Errorf("a heat of ten minutes ago is shown: %+v", w)
				}
				if w.Power != "" { // as the log says
					t.Errorf("nobody has told for ten minutes how the power is, and it is %q", w.Power)
				}
				if n := h.opened.Load(); n != 1 {
					t.Errorf("%d goroutines read what hangs", n)
				}
				began := time.Now()
				cancel()
				<-over
				if took := time.Since(began); took > 2*stopWithin {
					t.Errorf("the end took %v", took)
				}
				if n := r.shelf.count(); n != 1 {
					t.Errorf("%d records were written at the end", n)
				}
				close(h.release)
				synctest.Wait()
				if n := r.shelf.count(); n != 1 {
					t.Error("a record was written after the end")
				}
			})
		})
	}
}

func FuzzRecord(f *testing.F) {
	r := &record{Disk: "d", Card: "c", Source: raid.WearOfDevice, All: counts{1 << 20, 1 << 50, 5}, Days: []counts{{86400, 7, 8}, {5, 0, 0}}}
	f.Add(r.format())
	f.Add((&record{}).format())
	f.Add(`{"days":[{},{},{},{},{},{},{},{},{}]} 00000000`)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parseRecord(text); err != nil && !errors.Is(err, raid.ErrCorrupt) {
			t.Fatal(err)
		}
		line := text // the same with a checksum that is right
		if i := strings.LastIndexByte(text, ' '); i >= 0 {
			line = text[:i]
		}
		r, err := parseRecord(raid.SealLine(line))
		if err != nil {
			return
		}
		again, err := parseRecord(r.format())
		if err != nil || again.All != r.All || len(again.Days) != len(r.Days) {
			t.Fatalf("%+v reads as %+v, %v", r, again, err)
		}
	})
}
