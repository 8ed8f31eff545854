package wear

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// health asks the kernel how worn a disk is. An eMMC says that in its EXT_CSD; an SD card
// never does, and an NVMe disk tells root alone.
func (d *disk) health(machine fs.FS) (used int, spare raid.SpareState, heat raid.Heat) {
	at := "sys/block/" + d.name + "/device/"
	switch d.medium {
	case raid.MediumEMMC:
		return lifeUsed(word(machine, at+"life_time")), spareState(word(machine, at+"pre_eol_info")), 0
	case raid.MediumNVMe:
		// The first is of the disk as a whole; where it is depends on the kernel.
		for _, pattern := range []string{"hwmon*/temp1_input", "hwmon/hwmon*/temp1_input"} {
			if heat = temperature(machine, at+pattern); heat > 0 {
				break
			}
		}
	}
	return 0, "", heat
}

// lifeUsed reads life_time: one step of ten percent for each of the two kinds of cells, of
// which the worse one counts. 0: the card does not tell.
func lifeUsed(text string) (percent int) {
	for _, f := range strings.Fields(text) {
		n, err := strconv.ParseUint(f, 0, 8)
		switch {
		case err != nil, n > 11:
			return 0
		case n == 11:
			percent = raid.LifeExceeded
		default:
			percent = max(percent, int(n)*10)
		}
	}
	return percent
}

// spareState reads pre_eol_info.
func spareState(text string) raid.SpareState {
	n, err := strconv.ParseUint(text, 0, 8)
	if err != nil {
		return ""
	}
	switch n {
	case 1:
		return raid.SpareNormal
	case 2:
		return raid.SpareLow
	case 3:
		return raid.SpareUrgent
	}
	return ""
}

// temperature reads the first file of a pattern that shows one, in thousandths of a
// degree Celsius.
func temperature(machine fs.FS, pattern string) raid.Heat {
	names, _ := fs.Glob(machine, pattern) // the pattern is ours
	for _, name := range names {
		if n, err := strconv.ParseInt(word(machine, name), 10, 64); err == nil {
			if h := raid.HeatOf(n); h > 0 {
				return h
			}
		}
	}
	return 0
}

// machineHeat is the temperature of the processor, or else of the first thing that shows
// one.
func machineHeat(machine fs.FS) raid.Heat {
	const zones = "sys/class/thermal/thermal_zone*"
	types, _ := fs.Glob(machine, zones+"/type")
	for _, name := range types {
		if kind := word(machine, name); strings.HasPrefix(kind, "cpu") || kind == "x86_pkg_temp" {
			if h := temperature(machine, path.Join(path.Dir(name), "temp")); h > 0 {
				return h
			}
		}
	}
	return temperature(machine, zones+"/temp")
}

// voltageAlarm finds the file that says whether a Pi has had too little voltage in the
// last two seconds. Empty: there is none. The older one of the firmware's is not read, as
// the kernel warns of every program that does.
func voltageAlarm(machine fs.FS) string {
	names, _ := fs.Glob(machine, "sys/class/hwmon/hwmon*/name")
	for _, name := range names {
		if word(machine, name) == "rpi_volt" {
			return path.Join(path.Dir(name), "in0_lcrit_alarm")
		}
	}
	return ""
}
