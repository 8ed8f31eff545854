package raidctl

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

// wearRows show how a node's disk is used up, and how its machine is. A node that does not
// tell has none.
func wearRows(row func(name, value string), n client.Node) {
	if w := n.Wear; w != nil {
		row("disk", diskText(w))
		row("written", writtenText(w))
		row("wear", wornText(w))
	}
	var machine []string
	if t := n.Temperature; t != nil {
		machine = append(machine, fmt.Sprintf("%.0f °C", *t))
	}
	if p := n.Power; p != nil {
		machine = append(machine, powerText(*p))
	}
	if len(machine) > 0 {
		row("machine", strings.Join(machine, ", "))
	}
}

func diskText(w *client.Wear) string {
	text := orDash(raid.Wear{Device: w.Device, Medium: w.Medium, Model: w.Model}.Disk())
	if w.Celsius != nil {
		text += fmt.Sprintf(", %.0f °C", *w.Celsius)
	}
	return text
}

// writtenText says how much is written in a day, and what that is for.
func writtenText(w *client.Wear) string {
	switch {
	case w.Medium == raid.MediumMemory:
		return "to memory, which does not wear"
	case w.Counted == "":
		return "not known: the kernel does not tell where the chunks lie"
	}
	text := humanSize(w.Written) + " so far"
	if w.PerDay != nil {
		text = humanSize(*w.PerDay) + " a day"
	}
	if w.PerByte != nil {
		text += fmt.Sprintf(", %s bytes for each byte stored", factor(*w.PerByte))
	}
	if w.Counted == raid.WearOfService {
		text += ", by raid-node alone"
	}
	lately := int64(0)
	for _, d := range w.Days {
		lately += d.Seconds
	}
	if w.PerDay != nil {
		text += fmt.Sprintf(" (of %s that it ran)", humanDuration(time.Duration(lately)*time.Second))
	}
	return text
}

// factor is a number with as many digits as say something.
func factor(f float64) string {
	if f < 100 {
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.0f", math.Round(f))
}

func wornText(w *client.Wear) string {
	told := raid.Wear{Spare: w.Spare}
	if w.LifeUsed != nil {
		told.LifeUsed = *w.LifeUsed
	}
	text := told.Worn()
	switch {
	case text == "" && w.Spare == raid.SpareNormal:
		return "it has most of its spare blocks left"
	case text == "" && w.Medium == raid.MediumSD:
		return "not known: no SD card tells"
	case text == "":
		return "not known: the disk does not tell"
	case w.Worn:
		text += ": replace it soon"
	}
	return printable(text)
}

func powerText(p raid.PowerState) string {
	switch p {
	case raid.PowerGood:
		return "power is good"
	case raid.PowerLow:
		return "too little voltage now: give it a stronger power supply and a shorter cable"
	case raid.PowerWasLow:
		return "too little voltage at some time since it started: give it a stronger power supply and a shorter cable"
	}
	return "power: " + printable(string(p))
}
