package wear

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Records keeps the meter's record. chunkstore.Store is one.
type Records interface {
	WearRecord() (string, error)
	SaveWearRecord(text string) error
}

// Config holds what a Meter is made of.
type Config struct {
	Machine fs.FS  // the machine's files from its root, as of os.DirFS("/")
	Dir     string // absolute path of the folder whose disk is meant
	Device  uint64 // st_dev of it
	ID      string // of the node's disk: a record with another one is not its
	Records Records
	Stored  func() int64 // bytes of chunks stored since Run
	Log     *slog.Logger
}

const (
	// lookEvery is the time between two looks at what was written, and askEvery between
	// two at how disk and machine are.
	lookEvery = 10 * time.Second
	askEvery  = time.Minute
	// alarmEvery is the time between two looks at the alarm of a Pi's voltage, which the
	// kernel keeps for as long.
	alarmEvery = 2 * time.Second
	// saveEvery is the least time between two writes of the record.
	saveEvery = time.Hour
	day       = 24 * time.Hour
	// staleAfter is the time for which a sensor's word is believed without a further answer.
	staleAfter = 3 * askEvery
	// stopWithin bounds the wait of the end of Run for a sensor that does not answer.
	stopWithin = time.Second
)

// Meter counts what is written to a disk. Its methods may be called concurrently.
type Meter struct {
	cfg  Config
	disk disk

	// Of Run alone.
	looked  time.Time // zero: not yet
	written uint64    // the disk's counter then
	counted bool      // written is one
	stored  int64
	saved   time.Time
	kept    int64 // stored when it was saved

	// Of watch alone.
	asked time.Time
	alarm string // the file that tells of too little voltage; empty: there is none

	mu       sync.Mutex
	now      raid.Wear
	answered time.Time // when the sensors told all that was asked last
	silent   bool      // they have not for long, which was said
}

// New makes a Meter; Run does its work.
func New(cfg Config) *Meter {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Meter{cfg: cfg, saved: time.Now()}
}

// Wear returns what is known now. It does no I/O.
func (m *Meter) Wear() raid.Wear {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Run works until ctx ends. A sensor that does not answer holds up neither the count nor the end. A
// goroutine waits for it then, one at most, which writes nothing any more.
func (m *Meter) Run(ctx context.Context) {
	m.disk = locate(m.cfg.Machine, m.cfg.Dir, m.cfg.Device)
	m.load()
	m.look()
	m.answered = time.Now()
	watched := make(chan struct{})
	go func() { defer close(watched); m.watch(ctx) }()
	looks := time.NewTicker(lookEvery)
	defer looks.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-looks.C:
			if m.look() && time.Since(m.saved) >= saveEvery {
				m.save()
			}
			m.expire()
		}
	}
	m.look()
	if m.stored > m.kept || time.Since(m.saved) >= saveEvery {
		m.save()
	}
	select {
	case <-watched:
	case <-time.After(stopWithin):
	}
}

// watch asks the sensors until ctx ends. They are asked apart from the count, since some
// of them ask hardware: a disk's controller, or the firmware of a Pi. One that hangs holds
// up its reader, and no signal ends that.
func (m *Meter) watch(ctx context.Context) {
	m.ask()
	for ctx.Err() == nil {
		wait := lookEvery
		if m.alarm != "" {
			wait = alarmEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		m.askPower()
		if time.Since(m.asked) >= askEvery {
			m.ask()
		}
	}
}

// expire forgets what sensors said that have not answered for long.
func (m *Meter) expire() {
	m.mu.Lock()
	stale := time.Since(m.answered) >= staleAfter
	say := stale && !m.silent
	m.silent = stale
	if stale {
		m.now.Heat, m.now.CardHeat = 0, 0
		m.powerUnknown()
	}
	m.mu.Unlock()
	if say {
		m.cfg.Log.Warn("A sensor of the disk or the machine does not answer, so heat and voltage are not known; see journalctl -k", "for", staleAfter)
	}
}

// load takes the record over, if it is of this disk and of the same writes.
func (m *Meter) load() {
	d := &m.disk
	m.mu.Lock()
	m.now = raid.Wear{Device: d.name, Medium: d.medium, Model: d.model}
	m.mu.Unlock()
	text, err := m.cfg.Records.WearRecord()
	if err == nil && text == "" {
		return
	}
	var r *record
	if err == nil {
		r, err = parseRecord(text)
	}
	if err != nil {
		m.cfg.Log.Warn("How much was written to the disk is not known any more; it is counted anew", "reason", err)
		return
	}
	if r.Disk != m.cfg.ID || r.Card != d.serial || r.Source != d.source {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := r.All.day()
	m.now.Running, m.now.Written, m.now.Stored = all.Running, all.Written, all.Stored
	for i, c := range r.Days {
		m.now.Days[i] = c.day()
	}
}

// look counts what was written and stored since it looked last. It reports whether chunks
// were stored.
func (m *Meter) look() (stored bool) {
	took, before := time.Duration(0), m.written
	if !m.looked.IsZero() {
		took = time.Since(m.looked)
	}
	m.looked = time.Now()
	now, err := m.disk.written(m.cfg.Machine)
	more := raid.WearDay{Running: took}
	if err == nil {
		if m.counted {
			more.Written = int64(min(since(before, now), most))
		}
		m.written, m.counted = now, true
	}
	sum := m.cfg.Stored()
	more.Stored, m.stored = max(sum-m.stored, 0), sum
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Source = ""
	if m.counted {
		m.now.Source = m.disk.source
	}
	m.add(more)
	return more.Stored > 0
}

// add takes counts over. mu is held.
func (m *Meter) add(more raid.WearDay) {
	w := &m.now
	if w.Days[0].Running >= day {
		copy(w.Days[1:], w.Days[:])
		w.Days[0] = raid.WearDay{}
	}
	more.Running = min(more.Running, longestDay)
	sum := func(to *raid.WearDay) {
		to.Running = min(to.Running+more.Running, longestRun)
		to.Written = min(to.Written+more.Written, most)
		to.Stored = min(to.Stored+more.Stored, most)
	}
	sum(&w.Days[0])
	all := raid.WearDay{Running: w.Running, Written: w.Written, Stored: w.Stored}
	sum(&all)
	w.Running, w.Written, w.Stored = all.Running, all.Written, all.Stored
}

// ask finds out how disk and machine are.
func (m *Meter) ask() {
	m.asked = time.Now()
	used, spare, cardHeat := m.disk.health(m.cfg.Machine)
	heat := machineHeat(m.cfg.Machine)
	m.alarm = voltageAlarm(m.cfg.Machine)
	m.mu.Lock()
	m.now.LifeUsed, m.now.Spare, m.now.CardHeat, m.now.Heat = used, spare, cardHeat, heat
	m.answered = time.Now()
	m.mu.Unlock()
	m.askPower()
}

// askPower looks at the alarm of the voltage, if there is one.
func (m *Meter) askPower() {
	alarm := ""
	if m.alarm != "" {
		alarm = word(m.cfg.Machine, m.alarm)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	power := &m.now.Power
	switch {
	case alarm == "1":
		*power = raid.PowerLow
	case alarm != "0":
		m.powerUnknown()
	case *power == raid.PowerLow:
		*power = raid.PowerWasLow
	case *power == "":
		*power = raid.PowerGood
	}
}

// powerUnknown notes that nobody tells how the power is now. That it was low stays true.
// mu is held.
func (m *Meter) powerUnknown() {
	switch m.now.Power {
	case raid.PowerLow:
		m.now.Power = raid.PowerWasLow
	case raid.PowerGood:
		m.now.Power = ""
	}
}

// save writes the record.
func (m *Meter) save() {
	w := m.Wear()
	r := &record{
		Disk: m.cfg.ID, Card: m.disk.serial, Source: m.disk.source,
		All: countsOf(raid.WearDay{Running: w.Running, Written: w.Written, Stored: w.Stored}),
	}
	for _, d := range w.Days {
		if d.Running <= 0 {
			break
		}
		r.Days = append(r.Days, countsOf(d))
	}
	m.saved, m.kept = time.Now(), m.stored
	err := m.cfg.Records.SaveWearRecord(r.format())
	if err != nil && !errors.Is(err, raid.ErrReadOnly) && !errors.Is(err, raid.ErrNoSpace) { // which the node tells
		m.cfg.Log.Warn("How much was written to the disk could not be kept; it is tried again later", "reason", err)
	}
}
