package service

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/journal"
)

type journalEvent struct {
	message  string
	priority journal.Priority
	fields   map[string]string
}

// journalLog is a logger whose journal keeps events, or refuses them.
func journalLog(level slog.Level, refuse error) (*slog.Logger, *[]journalEvent, *bytes.Buffer) {
	var events []journalEvent
	var mu sync.Mutex
	text := &bytes.Buffer{}
	h := newJournalHandler("raid-node", level, newHandler(text, level, true))
	h.send = func(message string, p journal.Priority, fields map[string]string) error {
		mu.Lock()
		defer mu.Unlock()
		if refuse == nil {
			events = append(events, journalEvent{message, p, fields})
		}
		return refuse
	}
	return slog.New(h), &events, text
}

type hiding struct{}

func (hiding) LogValue() slog.Value { return slog.StringValue("shown") }

func TestJournalGetsEachAttributeAsAField(t *testing.T) {
	log, events, _ := journalLog(slog.LevelInfo, nil)
	log.Debug("not sent")
	log.With("node", "pi 2").WithGroup("up load").With(slog.Group("", "x", 1)).Warn("Chunk\nlost",
		"file id", 7, slog.Group("in", "took", 3*time.Second), "secret", hiding{}, "", "no name")
	log.Error("plain")
	if len(*events) != 2 {
		t.Fatalf("%+v", *events)
	}
	e := (*events)[0]
	want := map[string]string{
		"SYSLOG_IDENTIFIER": "raid-node", "RAID_NODE": "pi 2", "RAID_UP_LOAD_X": "1", "RAID_UP_LOAD_FILE_ID": "7",
		"RAID_UP_LOAD_IN_TOOK": "3s", "RAID_UP_LOAD_SECRET": "shown",
	}
	if e.priority != journal.PriWarning || !maps.Equal(e.fields, want) {
		t.Errorf("%v %q, want %q", e.priority, e.fields, want)
	}
	if text := `node="pi 2" "up load.x"=1 "up load.file id"=7 "up load.in.took"=3s "up load.secret"=shown`; e.message[:len("Chunk\nlost "+text)] != "Chunk\nlost "+text {
		t.Errorf("the message is %q", e.message)
	}
	if e := (*events)[1]; e.message != "plain" || e.priority != journal.PriErr || len(e.fields) != 1 {
		t.Errorf("%+v", e)
	}
}

// A journal that is restarting costs no event.
func TestWhatTheJournalDoesNotTakeIsWrittenAsText(t *testing.T) {
	log, _, text := journalLog(slog.LevelInfo, errors.New("no journal"))
	log.With("node", "a").Info("node up", "x", 1)
	if got := text.String(); got != "<6>msg=\"node up\" node=a x=1\n" {
		t.Errorf("%q", got)
	}
}

func TestJournalFromManyGoroutines(t *testing.T) {
	log, events, _ := journalLog(slog.LevelInfo, nil)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { log.With("n", i).Info("event", "m", i) })
	}
	all.Wait()
	for _, e := range *events {
		if e.message != "event n="+e.fields["RAID_N"]+" m="+e.fields["RAID_M"] {
			t.Errorf("%+v", e)
		}
	}
	if len(*events) != 50 {
		t.Errorf("%d events", len(*events))
	}
}

func TestFieldNames(t *testing.T) {
	got := []string{fieldName("file_id"), fieldName("took ms"), fieldName("é"), fieldName("")}
	if !slices.Equal(got, []string{"FILE_ID", "TOOK_MS", "_", ""}) {
		t.Errorf("%q", got)
	}
}
