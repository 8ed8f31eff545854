package wear

import (
	"strconv"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// places are the disks that folders may lie on.
var places = map[string]struct {
	make    func(m *machine)
	dir     string
	dev     uint64
	want    disk
	written uint64
}{
	"a partition of an SD card": {
		make: func(m *machine) {
			m.disk("mmcblk0", "179:0", [2]string{"mmcblk0p1", "179:1"}, [2]string{"mmcblk0p2", "179:2"})
			m.write("sys/block/mmcblk0/device/type", "SD\n")
			m.write("sys/block/mmcblk0/device/name", "SN64G\n")
			m.write("sys/block/mmcblk0/device/cid", "035344534e363447\n")
			m.wrote("mmcblk0", 7*mib)
		},
		dev:     numbered(179, 2),
		want:    disk{name: "mmcblk0", medium: raid.MediumSD, model: "SN64G", serial: "035344534e363447", source: raid.WearOfDevice},
		written: 7 * mib,
	},
	"an eMMC": {
		make: func(m *machine) {
			m.disk("mmcblk1", "179:0")
			m.write("sys/block/mmcblk1/device/type", "MMC\n")
			m.write("sys/block/mmcblk1/device/name", "BJTD4R\n")
			m.wrote("mmcblk1", mib)
		},
		dev: numbered(179, 0), want: disk{name: "mmcblk1", medium: raid.MediumEMMC, model: "BJTD4R", source: raid.WearOfDevice}, written: mib,
	},
	"an NVMe disk": {
		make: func(m *machine) {
			m.disk("nvme0n1", "259:0", [2]string{"nvme0n1p1", "259:1"})
			m.write("sys/block/nvme0n1/device/model", "Raspberry Pi SSD 256GB                  \n")
			m.write("sys/block/nvme0n1/wwid", "eui.01\n")
		},
		dev:  numbered(259, 1),
		want: disk{name: "nvme0n1", medium: raid.MediumNVMe, model: "Raspberry Pi SSD 256GB", serial: "eui.01", source: raid.WearOfDevice},
	},
	"a disk on USB": {
		make: func(m *machine) {
			m.disk("sda", "8:0", [2]string{"sda1", "8:1"})
			m.write("sys/block/sda/device/model", "Portable SSD T5 \n")
		},
		dev: numbered(8, 1), want: disk{name: "sda", medium: raid.MediumDisk, model: "Portable SSD T5", source: raid.WearOfDevice},
	},
	"an encrypted partition": {
		make: func(m *machine) {
			m.disk("sda", "8:0", [2]string{"sda2", "8:2"})
			m.disk("dm-0", "254:0")
			m.mapped("dm-0", "sda2")
			m.wrote("sda", 3*mib)
			m.wrote("dm-0", mib)
		},
		dev: numbered(254, 0), want: disk{name: "sda", medium: raid.MediumDisk, source: raid.WearOfDevice}, written: 3 * mib,
	},
	"a mapping onto itself ends": {
		make: func(m *machine) {
			m.disk("dm-0", "254:0")
			m.mapped("dm-0", "dm-0")
		},
		dev: numbered(254, 0), want: disk{name: "dm-0", medium: raid.MediumDisk, source: raid.WearOfDevice},
	},
	"two disks as one": {
		make: func(m *machine) {
			m.disk("sda", "8:0")
			m.disk("sdb", "8:16")
			m.disk("md0", "9:0")
			m.mapped("md0", "sda", "sdb")
			m.wrote("md0", 5*mib)
		},
		dev: numbered(9, 0), want: disk{name: "md0", medium: raid.MediumDisk, source: raid.WearOfDevice}, written: 5 * mib,
	},
	"a file": {
		make: func(m *machine) { m.disk("loop3", "7:3") },
		dev:  numbered(7, 3), want: disk{name: "loop3", medium: raid.MediumDisk, source: raid.WearOfDevice},
	},
	"compressed memory": {
		make: func(m *machine) { m.disk("zram0", "252:0") },
		dev:  numbered(252, 0), want: disk{name: "zram0", medium: raid.MediumMemory},
	},
	"btrfs": {
		make: func(m *machine) {
			m.disk("mmcblk0", "179:0", [2]string{"mmcblk0p2", "179:2"})
			m.write("sys/block/mmcblk0/device/type", "SD\n")
			m.write("proc/self/mountinfo", "1 1 0:25 / / rw - btrfs /dev/mmcblk0p2 rw,ssd\n2 1 0:4 / /proc rw - proc proc rw\n")
		},
		dir: "/var/lib/raid-node/chunks", dev: numbered(0, 31), want: disk{name: "mmcblk0", medium: raid.MediumSD, source: raid.WearOfDevice},
	},
	"btrfs on a mapped disk, under a name with a space": {
		make: func(m *machine) {
			m.disk("sda", "8:0", [2]string{"sda2", "8:2"})
			m.disk("dm-1", "254:1")
			m.write("sys/block/dm-1/dm/name", "my-crypt\n")
			m.mapped("dm-1", "sda2")
			m.write("proc/self/mountinfo", "1 1 8:9 / / rw - ext4 /dev/sdz9 rw\n2 1 0:25 / /mnt/the\\040disk rw shared:1 - btrfs /dev/mapper/my-crypt rw\n")
		},
		dir: "/mnt/the disk/chunks", dev: numbered(0, 31), want: disk{name: "sda", medium: raid.MediumDisk, source: raid.WearOfDevice},
	},
	"a container": {
		make: func(m *machine) {
			m.write("proc/self/mountinfo", "1 1 0:25 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/b,workdir=/c\n")
			m.write("proc/self/cgroup", "4:memory:/else\n0::/a.slice/b.service\n")
			m.write("sys/fs/cgroup/a.slice/b.service/io.stat", "254:0 rbytes=1 wbytes=3145728 rios=1 wios=2 dbytes=0 dios=0\n8:0 rbytes=1 wbytes=3145000 rios=0 wios=0\n")
		},
		dir: "/chunks", dev: numbered(0, 25), want: disk{source: raid.WearOfService}, written: 3 * mib,
	},
	"memory": {
		make: func(m *machine) {
			m.write("proc/self/mountinfo", "1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:25 / /tmp rw - tmpfs tmpfs rw\n")
		},
		dir: "/tmp/chunks", dev: numbered(0, 25), want: disk{medium: raid.MediumMemory},
	},
	"a network file system": {
		make: func(m *machine) {
			m.write("proc/self/mountinfo", "2 1 0:25 / /mnt rw - nfs4 nas:/pool rw\n")
			m.write("proc/self/cgroup", "0::/\n")
			m.write("sys/fs/cgroup/io.stat", "8:0 wbytes=1\n")
		},
		dir: "/mnt", dev: numbered(0, 25),
	},
	"a kernel that shows nothing": {make: func(*machine) {}, dir: "/chunks", dev: numbered(8, 1)},
}

func TestTheDiskOfAFolderIsFound(t *testing.T) {
	for name, c := range places {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			c.make(m)
			got := locate(m.fs(), c.dir, c.dev)
			if got != c.want {
				t.Fatalf("got  %+v\nwant %+v", got, c.want)
			}
			written, err := got.written(m.fs())
			if (err == nil) != (c.want.source != "") || written != c.written {
				t.Errorf("%d bytes written, %v; want %d", written, err, c.written)
			}
		})
	}
}

func TestWhatACardSaysOfItsLife(t *testing.T) {
	for _, c := range []struct {
		life, eol string
		used      int
		spare     raid.SpareState
	}{
		{"0x01 0x01\n", "0x01\n", 10, raid.SpareNormal},
		{"0x03 0x01\n", "0x02\n", 30, raid.SpareLow},
		{"0x00 0x0a\n", "0x03\n", 100, raid.SpareUrgent},
		{"0x0b 0x01\n", "0x03\n", raid.LifeExceeded, raid.SpareUrgent},
		{"0x00 0x00\n", "0x00\n", 0, ""},
		{"0x0c 0x01\n", "0x04\n", 0, ""},
		{"", "", 0, ""},
		{"worn", "-1", 0, ""},
		{"0x01 0x999999999999999999999\n", strings.Repeat("9", 5000), 0, ""},
	} {
		m := newMachine(t)
		m.disk("mmcblk0", "179:0")
		m.write("sys/block/mmcblk0/device/life_time", c.life)
		m.write("sys/block/mmcblk0/device/pre_eol_info", c.eol)
		emmc := disk{name: "mmcblk0", medium: raid.MediumEMMC}
		if used, spare, _ := emmc.health(m.fs()); used != c.used || spare != c.spare {
			t.Errorf("%q and %q are %d %% and %q, want %d and %q", c.life, c.eol, used, spare, c.used, c.spare)
		}
		sd := disk{name: "mmcblk0", medium: raid.MediumSD}
		if used, spare, _ := sd.health(m.fs()); used != 0 || spare != "" {
			t.Errorf("an SD card tells %d %% and %q", used, spare)
		}
	}
}

func TestTemperatures(t *testing.T) {
	m := newMachine(t)
	if h := machineHeat(m.fs()); h != 0 {
		t.Errorf("a machine without sensors has %d", h)
	}
	m.write("sys/class/thermal/thermal_zone0/type", "acpitz\n")
	m.write("sys/class/thermal/thermal_zone0/temp", "27800\n")
	wantCelsius(t, machineHeat(m.fs()), 27.8)
	m.write("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n")
	m.write("sys/class/thermal/thermal_zone1/temp", "61300\n")
	wantCelsius(t, machineHeat(m.fs()), 61.3)
	m.write("sys/class/thermal/thermal_zone1/temp", "9999999999\n")
	wantCelsius(t, machineHeat(m.fs()), 27.8)
	m.write("sys/class/thermal/thermal_zone0/temp", "-12000\n")
	wantCelsius(t, machineHeat(m.fs()), -12)

	nvme := disk{name: "nvme0n1", medium: raid.MediumNVMe}
	m.disk("nvme0n1", "259:0")
	if _, _, h := nvme.health(m.fs()); h != 0 {
		t.Errorf("a disk without a sensor has %d", h)
	}
	for _, at := range []string{"hwmon/hwmon3", "hwmon2"} {
		m.write("sys/block/nvme0n1/device/"+at+"/temp1_input", "40850\n")
		_, _, h := nvme.health(m.fs())
		wantCelsius(t, h, 40.85)
	}
}

func wantCelsius(t *testing.T, h raid.Heat, want float64) {
	t.Helper()
	if c, known := h.Celsius(); !known || c < want-0.001 || c > want+0.001 {
		t.Errorf("%v °C, known %v; want %v", c, known, want)
	}
}

func TestWhatWasWrittenBetweenTwoLooks(t *testing.T) {
	for _, c := range []struct{ before, now, want uint64 }{
		{0, 0, 0},
		{5, 9, 4},
		{round - 10, 20, 30},                  // a 32-bit kernel's counter went round
		{round / 2, 512, 512},                 // the disk was taken off
		{3 * round, 1024, 1024},               // on a kernel whose counter never goes round
		{3 * round, 3*round + 7, 7},           // the same
		{round - 512, round, 512},             // the same
		{1 << 20, 0, 0},                       // taken off, and nothing written since
		{round - 1, round >> 9, round>>9 + 1}, // much, and still believed
	} {
		if got := since(c.before, c.now); got != c.want {
			t.Errorf("from %d to %d: %d, want %d", c.before, c.now, got, c.want)
		}
	}
}

func FuzzKernelFiles(f *testing.F) {
	f.Add(stat(77))
	f.Add("0::/system.slice/raid-node.service\n")
	f.Add("254:0 rbytes=1 wbytes=3145728 rios=1 wios=2 dbytes=0 dios=0\n")
	f.Add("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	f.Add("0x01 0x0b\n")
	f.Add("0x03")
	f.Add("wbytes=18446744073709551615")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := sectorsWritten(text); err == nil && n > most {
			t.Errorf("%d bytes in sectors", n)
		}
		if n, err := groupWritten(text); err == nil && n > most {
			t.Errorf("%d bytes of a group", n)
		}
		if at, m, ok := parseMount(text); ok {
			isBelow("/var/lib", at)
			n := ""
			if m.number(newEmpty(), &n) == nil {
				t.Errorf("a disk of %q on a machine without", m.source)
			}
		}
		if n := lifeUsed(text); n < 0 || n > raid.LifeExceeded {
			t.Errorf("%d %% of a life", n)
		}
		spareState(text)
		ownGroup(text)
		if d := (disk{name: clip(text), source: raid.WearOfService}); d.source != "" {
			if _, err := d.written(newEmpty()); err == nil {
				t.Error("something was written on a machine without disks")
			}
		}
	})
}
