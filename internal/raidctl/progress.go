package raidctl

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// meter shows how far a transfer is, with rate and remaining time. It shows
// nothing unless a person watches.
type meter struct {
	app  *app
	name string
	bar  *progressbar.ProgressBar
	base int64 // what was there before; neither rate nor bar count it
	last int64
}

func (a *app) meter(name string, base int64) *meter { return &meter{app: a, name: name, base: base} }

// at takes the bytes moved so far of size, which is -1 when unknown.
func (m *meter) at(n, size int64) {
	if !m.app.watched || size == 0 {
		return
	}
	if m.bar == nil {
		m.bar = m.newBar(size)
	}
	if n < m.last {
		m.bar.Reset() // the upload begins again
	}
	m.last = n
	_ = m.bar.Set64(n - m.base) // a bar that can't be drawn stops no transfer
}

func (m *meter) newBar(size int64) *progressbar.ProgressBar {
	if size > 0 {
		size -= m.base
	}
	name := []rune(printable(m.name))
	if len(name) > 30 {
		name = append(name[:29], '…')
	}
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(m.app.stderr),
		progressbar.OptionSetDescription(string(name)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // else it starts a goroutine that nothing ends
		progressbar.OptionClearOnFinish(),
	)
}

// rename says what is under way now.
func (m *meter) rename(name string) {
	m.name = name
	if m.bar != nil {
		m.bar.Describe(name)
	}
}

// clear takes the bar off the screen until it moves again, for a line of output.
func (m *meter) clear() {
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}

// done takes the bar off the screen.
func (m *meter) done() {
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}
