package httpapi

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/raidpi/raidpi/internal/raid"
)

// What nodes tell of their wear is in the list and in the answer for one, as the document
// says it.
func TestNodesShowTheirWear(t *testing.T) {
	router, err := gorillamux.NewRouter(loadDocument(t))
	if err != nil {
		t.Fatal(err)
	}
	w := raid.Wear{
		Device: "mmcblk0", Medium: raid.MediumEMMC, Model: "BJTD4R", Source: raid.WearOfDevice, Running: 25 * time.Hour, Written: 8 << 30, Stored: 2 << 30,
		LifeUsed: 30, Spare: raid.SpareNormal, CardHeat: raid.HeatOf(40_849), Heat: raid.HeatOf(61_300), Power: raid.PowerWasLow,
	}
	w.Days[0], w.Days[1] = raid.WearDay{Running: time.Hour, Written: 1 << 30}, raid.WearDay{Running: 23 * time.Hour, Written: 2 << 30, Stored: 1 << 30}
	node := raid.NodeInfo{ID: "950vUHt0DYZaIbKOSbSkVL", Kind: raid.Native, State: raid.Up, Wear: w}
	nodes := []raid.NodeInfo{
		node, {ID: "b", Kind: raid.Native, State: raid.Up, Wear: raid.Wear{Medium: raid.MediumMemory}}, {ID: "c", Kind: raid.Native, State: raid.Up},
	}
	s := serve(t, newStore(), func(c *Config) {
		c.Nodes = func() []raid.NodeInfo { return nodes }
		c.Node = func(context.Context, raid.NodeID) (NodeDetail, error) { return NodeDetail{Info: node}, nil }
	})
	s.documented(router, true, 200, "GET", "/nodes", nil)
	s.documented(router, true, 200, "GET", "/nodes/950vUHt0DYZaIbKOSbSkVL", nil)
	var got struct {
		Nodes []map[string]any `json:"nodes"`
	}
	if err := json.Unmarshal(s.do("GET", "/nodes", nil).body, &got); err != nil {
		t.Fatal(err)
	}
	first := got.Nodes[0]
	wear := first["wear"].(map[string]any)
	for key, want := range map[string]any{
		"device": "mmcblk0", "medium": "emmc", "model": "BJTD4R", "counted": "device", "seconds": 90000.0, "written_bytes": 8.0 * (1 << 30), "stored_bytes": 2.0 * (1 << 30),
		"bytes_per_day": 3.0 * (1 << 30), "written_per_stored": 3.0, "life_used": 30.0, "spare": "normal", "disk_temperature": 40.8, "worn": false,
	} {
		if wear[key] != want {
			t.Errorf("%s is %v, want %v", key, wear[key], want)
		}
	}
	if days := wear["days"].([]any); len(days) != 2 {
		t.Errorf("days are %v", days)
	}
	if first["temperature"] != 61.3 || first["power"] != "was-low" {
		t.Errorf("temperature %v, power %v", first["temperature"], first["power"])
	}
	if w := got.Nodes[1]["wear"].(map[string]any); w["life_used"] != nil || w["bytes_per_day"] != nil || w["counted"] != "" {
		t.Errorf("one that knows little: %v", w)
	}
	if n := got.Nodes[2]; n["wear"] != nil || n["temperature"] != nil || n["power"] != nil {
		t.Errorf("one that does not tell: %v", n)
	}
}
