package config

import (
	"io"
	"time"

	"github.com/raidpi/raidpi/internal/stripe"
)

// ControllerPath is the file that raid-controller reads without --config. The file may
// be missing: then the defaults hold.
const ControllerPath = "/etc/raid-controller/raid-controller.toml"

// ControllerPrefix begins the environment variables that override
// raid-controller.toml.
const ControllerPrefix = "RAID_CONTROLLER_"

// Controller is raid-controller.toml.
type Controller struct {
	StateDir string   `toml:"state_dir"` // absolute path; holds the catalog
	Reserve  ByteSize `toml:"reserve"`   // of StateDir's disk: uploads stop when less is free
	LogLevel LogLevel `toml:"log_level"`

	HTTP   HTTP   `toml:"http"`
	Nodes  Nodes  `toml:"nodes"`
	RAID   RAID   `toml:"raid"`
	Repair Repair `toml:"repair"`
	Trash  Trash  `toml:"trash"`
	Events Events `toml:"events"`
}

// HTTP says how the REST interface is served.
type HTTP struct {
	Listen      Address   `toml:"listen"`
	Plaintext   Plaintext `toml:"plaintext"`
	Auth        Auth      `toml:"auth"`
	Names       []string  `toml:"names"`        // of this machine, beside those it has anyway: for its certificate and for clients on it
	Socket      string    `toml:"socket"`       // absolute path of the Unix socket for root; empty: none
	MaxBody     ByteSize  `toml:"max_body"`     // 0: no limit
	MaxRequests int       `toml:"max_requests"` // served at once
}

// Nodes holds the addresses that nodes connect to.
type Nodes struct {
	StoreListen    Address   `toml:"store_listen"`
	ResponseListen Address   `toml:"response_listen"`
	RequestListen  Address   `toml:"request_listen"`
	Plaintext      Plaintext `toml:"plaintext"`
	Settle         Duration  `toml:"settle"` // wait for known nodes before storing degraded
}

// RAID says how files are cut and how often they are kept.
type RAID struct {
	Level          Level      `toml:"level"`
	Copies         int        `toml:"copies"`
	StripeSize     StripeSize `toml:"stripe_size"`
	MaxWholeFile   ByteSize   `toml:"max_whole_file"` // with stripe size "file"
	DegradedWrites bool       `toml:"degraded_writes"`
}

// Repair says when copies are made anew and looked through.
type Repair struct {
	Grace      Duration `toml:"grace"`
	ScrubEvery Duration `toml:"scrub_every"`
}

// Trash says how long deleted files can be put back, and nodes keep leftovers.
type Trash struct {
	Keep Duration `toml:"keep"`
}

// Events says what else is done with what happened.
type Events struct {
	Exec string `toml:"exec"` // absolute path of a program that gets each event; empty: none
}

// DefaultController holds until a file or the environment says otherwise.
func DefaultController() *Controller {
	return &Controller{
		StateDir: "/var/lib/raid-controller",
		Reserve:  512 * MiB,
		LogLevel: LogInfo,
		HTTP: HTTP{
			Listen:      ":9000",
			Plaintext:   PlaintextLoopback,
			Auth:        AuthToken,
			Socket:      "/run/raid-controller/control.sock",
			MaxRequests: 64,
		},
		Nodes: Nodes{
			StoreListen:    ":5557",
			ResponseListen: ":5558",
			RequestListen:  ":5559",
			Plaintext:      PlaintextOff,
			Settle:         Duration(10 * time.Second),
		},
		RAID: RAID{
			Level:          Level(stripe.Known()[0].Name),
			Copies:         2,
			StripeSize:     StripeSize(4 * MiB),
			MaxWholeFile:   64 * MiB,
			DegradedWrites: true,
		},
		Repair: Repair{
			Grace:      Duration(15 * time.Minute),
			ScrubEvery: 7 * Day,
		},
		Trash: Trash{Keep: Day},
	}
}

// LoadController reads the file at path, or at [ControllerPath] when path is
// empty, and env as os.Environ gives it. The error is an [*Error].
func LoadController(path string, env []string) (*Controller, Origins, error) {
	c := DefaultController()
	r := &report{origins: Origins{}}
	src := source{
		program: "raid-controller", path: path, defaultPath: ControllerPath,
		prefix: ControllerPrefix, env: env,
		foreign: []string{"RAID_CONTROLLER_URL", "RAID_CONTROLLER_SOCKET"}, // raidctl's
	}
	if src.apply(c, r) {
		c.check(r)
	}
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return c, r.origins, nil
}

// Values is each key's value, as text, by dotted path.
func (c *Controller) Values() map[string]string { return valuesOf(c) }

// Print writes the configuration as TOML that loads to the same, each value
// with its origin.
func (c *Controller) Print(w io.Writer, o Origins) error { return printConfig(w, c, o) }
