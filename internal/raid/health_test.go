package raid

import "testing"

func TestTheWorstWordOfHealthWins(t *testing.T) {
	if a := Assess(nil); a.Health != Healthy || a.Text() != "" || a.Impaired {
		t.Errorf("nothing found: %+v", a)
	}
	a := Assess([]Finding{
		{Health: Degraded, Text: "pi-2 is away", Named: true},
		{Health: DataLost, Text: "1 file is lost", Impairs: true},
		{Health: Healing, Text: "copies are made"},
		{Health: Degraded, Text: "pi-3 is away", Named: true},
		{Health: AtRisk, Text: "2 files have one copy"},
	})
	const want = "1 file is lost. 2 files have one copy. pi-2 is away. pi-3 is away. Copies are made"
	if a.Health != DataLost || !a.Impaired || a.Text() != want {
		t.Errorf("%s, impaired %v: %s", a.Health, a.Impaired, a.Text())
	}
	if !Health("strange").WorseThan(DataLost) || Healthy.WorseThan(Healthy) {
		t.Error("an unknown word is not the worst, or one is worse than itself")
	}
}
