package controller

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/raidpi/raidpi/internal/raid"
)

// findWear tells of disks that come to the end of their lives. Nothing is lost yet, so
// this alone makes no array less than healthy.
func (c *Controller) findWear(context.Context) []raid.Finding { return wornDisks(c.nodesByName()) }

func wornDisks(nodes []raid.NodeInfo) (found []raid.Finding) {
	args := raid.NodeArgs(nodes)
	for _, n := range nodes {
		if w := n.Wear; w.IsWorn() {
			found = append(found, raid.Finding{Health: raid.Healthy, Text: fmt.Sprintf(
				"the disk of %s, %s, is nearly worn out: %s; replace it before it fails: sudo raidctl node replace %s",
				calledNode(n), w.Disk(), w.Worn(), args[n.ID])})
		}
	}
	return found
}

// warnOfPower says of Pis that get too little voltage.
func warnOfPower(nodes []raid.NodeInfo) (all []string) {
	for _, n := range nodes {
		if !n.IsThere() {
			continue
		}
		const advice = "that spoils cards and disks: give it a stronger power supply and a shorter cable"
		switch n.Wear.Power {
		case raid.PowerLow:
			all = append(all, fmt.Sprintf("%s gets too little voltage now; %s", calledNode(n), advice))
		case raid.PowerWasLow:
			all = append(all, fmt.Sprintf("%s has got too little voltage since it started; %s", calledNode(n), advice))
		}
	}
	return all
}

var (
	descWritten      = prometheus.NewDesc("raidpi_node_written_bytes_total", "Bytes written to a native node's disk while it ran, by whose writes are counted.", []string{"node", "counted"}, nil)
	descStored       = prometheus.NewDesc("raidpi_node_stored_bytes_total", "Bytes of chunks that a native node has stored.", []string{"node"}, nil)
	descLifeUsed     = prometheus.NewDesc("raidpi_node_disk_life_used_ratio", "Part of its life that a native node's disk has used up, rounded up to tenths; above 1, more than all.", []string{"node"}, nil)
	descWorn         = prometheus.NewDesc("raidpi_node_disk_worn", "1 when a native node's disk should be replaced soon.", []string{"node"}, nil)
	descDiskHeat     = prometheus.NewDesc("raidpi_node_disk_temperature_celsius", "Temperature of a native node's disk.", []string{"node"}, nil)
	descHeat         = prometheus.NewDesc("raidpi_node_temperature_celsius", "Temperature of a native node's machine.", []string{"node"}, nil)
	descUnderVoltage = prometheus.NewDesc("raidpi_node_under_voltage", "1 while a native node's Pi gets too little voltage.", []string{"node"}, nil)
)

// wear are the metrics of a node's disk and machine. What is not known is left out.
func (m metrics) wear(n raid.NodeInfo, gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, int64, ...string)) {
	w, id := n.Wear, string(n.ID)
	if w == (raid.Wear{}) {
		return
	}
	if w.Source != "" {
		count(descWritten, w.Written, id, string(w.Source))
	}
	count(descStored, w.Stored, id)
	if w.LifeUsed > 0 {
		gauge(descLifeUsed, float64(w.LifeUsed)/100, id)
	}
	gauge(descWorn, is(w.IsWorn()), id)
	if c, known := w.CardHeat.Celsius(); known {
		gauge(descDiskHeat, c, id)
	}
	if c, known := w.Heat.Celsius(); known {
		gauge(descHeat, c, id)
	}
	if w.Power != "" {
		gauge(descUnderVoltage, is(w.Power == raid.PowerLow), id)
	}
}
