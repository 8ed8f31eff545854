package config

import (
	"io"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NodePath is the file that raid-node reads without --config. The file may be missing:
// then the defaults hold.
const NodePath = "/etc/raid-node/raid-node.toml"

// NodePrefix begins the environment variables that override raid-node.toml.
const NodePrefix = "RAID_NODE_"

// MaxSocket is the longest path of a Unix socket, in bytes (unix(7), without the
// zero at its end).
const MaxSocket = 107

// MaxZone is the longest name of a zone, in bytes.
const MaxZone = 64

// Node is raid-node.toml.
type Node struct {
	StateDir string   `toml:"state_dir"`                         // absolute path; remembers which disk is this node's, and the node's identity
	ChunkDir string   `toml:"chunk_dir" one:"chunk directories"` // absolute path; holds the chunks
	Reserve  ByteSize `toml:"reserve"`                           // of ChunkDir's disk: never used
	Zone     string   `toml:"zone"`                              // copies are kept in different zones; may be empty
	LogLevel LogLevel `toml:"log_level"`

	ControlSocket string `toml:"control_socket"` // absolute path; where raid-node join and the like find the daemon

	Controller NodeController `toml:"controller"`
}

// NodeController says where the controller is.
type NodeController struct {
	Host         string    `toml:"host"`      // name or IP address
	HTTPPort     int       `toml:"http_port"` // for joining, leaving and new keys
	StorePort    int       `toml:"store_port"`
	ResponsePort int       `toml:"response_port"`
	RequestPort  int       `toml:"request_port"`
	Plaintext    Plaintext `toml:"plaintext"`
}

// DefaultNode holds until a file or the environment says otherwise; what joining
// has told about the controller comes in between.
func DefaultNode() *Node {
	return &Node{
		StateDir: "/var/lib/raid-node",
		ChunkDir: "/var/lib/raid-node/chunks",
		Reserve:  GiB,
		LogLevel: LogInfo,

		ControlSocket: "/run/raid-node/control.sock",
		Controller: NodeController{
			Host:         "controller.local",
			HTTPPort:     9000,
			StorePort:    5557,
			ResponsePort: 5558,
			RequestPort:  5559,
			Plaintext:    PlaintextOff,
		},
	}
}

// LoadNode reads the file at path, or at [NodePath] when path is empty. It also reads the *.toml
// files of the folder conf.d beside it, and env as os.Environ gives it. The error is an [*Error].
func LoadNode(path string, env []string) (*Node, Origins, error) {
	n := DefaultNode()
	r := &report{origins: Origins{}}
	src := source{
		program: "raid-node", path: path, defaultPath: NodePath,
		prefix: NodePrefix, env: env,
	}
	if src.apply(n, r) {
		n.check(r)
	}
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return n, r.origins, nil
}

// Values is each key's value, as text, by dotted path.
func (n *Node) Values() map[string]string { return valuesOf(n) }

// Print writes the configuration as TOML that loads to the same, each value
// with its origin.
func (n *Node) Print(w io.Writer, o Origins) error { return printConfig(w, n, o) }

func (n *Node) check(r *report) {
	r.path("state_dir", n.StateDir)
	r.path("chunk_dir", n.ChunkDir)
	if within(n.StateDir, n.ChunkDir) {
		// Both hold a raid-node.json, and what the state says of the disk must
		// not vanish with the disk.
		r.bad("state_dir", "%q lies in chunk_dir (%q): choose a folder outside of it", n.StateDir, n.ChunkDir)
	}
	if len(n.Zone) > MaxZone || !utf8.ValidString(n.Zone) || strings.ContainsFunc(n.Zone, unicode.IsControl) {
		r.bad("zone", "a zone's name has at most %d bytes and no control characters", MaxZone)
	}
	r.path("control_socket", n.ControlSocket)
	if len(n.ControlSocket) > MaxSocket {
		r.bad("control_socket", "has %d bytes; the path of a socket has at most %d", len(n.ControlSocket), MaxSocket)
	}
	n.Controller.check(r)
}

func (c *NodeController) check(r *report) {
	if c.Host == "" {
		r.bad("controller.host", "is empty: write the controller's name or IP address")
	} else if err := checkHost(c.Host); err != nil {
		r.bad("controller.host", "%v", err)
	}
	ports := []struct {
		key  string
		port int
	}{
		{"controller.http_port", c.HTTPPort},
		{"controller.store_port", c.StorePort},
		{"controller.response_port", c.ResponsePort},
		{"controller.request_port", c.RequestPort},
	}
	for i, p := range ports {
		r.between(p.key, int64(p.port), 1, 65535)
		for _, other := range ports[:i] {
			if p.port == other.port {
				r.bad(p.key, "%d is %s too: the controller has four different ports", p.port, other.key)
				break
			}
		}
	}
}

// within reports whether path is dir or lies in it, by their names alone.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
