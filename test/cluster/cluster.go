package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Config says what array to start.
type Config struct {
	Dir   string // everything goes here; made when missing
	Bin   string // where raid-controller and raid-node are
	Nodes int    // how many raid-nodes, may be 0

	Ports Ports // zero ones are chosen freely

	// ControllerEnv and NodeEnv override configuration, "RAID_NODE_RESERVE=0".
	ControllerEnv []string
	NodeEnv       []string

	// Joined: no node speaks without TLS, each joins by the command that a person
	// uses.
	Joined bool

	NoController bool          // nodes alone, for a controller that is not ours
	Timeout      time.Duration // for the array to become ready; 30 s when zero
}

// Ports are the ports on which the controller listens.
type Ports struct{ HTTP, Store, Response, Request int }

// Cluster is a running array.
type Cluster struct {
	Controller *Daemon   // nil without one
	Nodes      []*Daemon // Nodes[0] is node1
	API        *API
	Ports      Ports

	dir     string
	bin     string
	nodeEnv []string
	joined  bool
	sockets string // folder of the control sockets, whose paths must be short; Close removes it
	timeout time.Duration
}

// attempts is the number of times that Start tries ports, when some other program was quicker to
// take one.
const attempts = 5

// Start runs the array and returns when it is ready and all its nodes are up.
// What it started is gone when it fails.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	for try := 1; ; try++ {
		c, err := prepare(cfg)
		if err != nil {
			return nil, err
		}
		if err = c.start(ctx); err == nil {
			return c, nil
		}
		c.Close()
		if try == attempts || !errors.Is(err, errEnded) || c.Ports == cfg.Ports {
			return nil, err
		}
	}
}

func prepare(cfg Config) (*Cluster, error) {
	ports, err := fillPorts(cfg.Ports)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("start array: %w", err)
	}
	c := &Cluster{
		dir: dir, bin: cfg.Bin, nodeEnv: cfg.NodeEnv, Ports: ports, timeout: cfg.Timeout, joined: cfg.Joined,
		API: &API{URL: "http://" + Loopback(ports.HTTP), HTTP: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 64, DisableCompression: true,
		}}},
	}
	if c.sockets, err = os.MkdirTemp("/tmp", "raidpi"); err != nil {
		return nil, fmt.Errorf("start array: %w", err)
	}
	for _, d := range []string{"conf", "logs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("start array: %w", err)
		}
	}
	if !cfg.NoController {
		if c.Controller, err = c.daemon(cfg.Bin, "raid-controller", "controller", c.controllerConfig(), cfg.ControllerEnv); err != nil {
			return nil, err
		}
	}
	for range cfg.Nodes {
		if _, err := c.addNode(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// addNode prepares one more node.
func (c *Cluster) addNode() (*Daemon, error) {
	i := len(c.Nodes)
	node, err := c.daemon(c.bin, "raid-node", fmt.Sprintf("node%d", i+1), c.nodeConfig(i), c.nodeEnv)
	if err == nil {
		c.Nodes = append(c.Nodes, node)
	}
	return node, err
}

// Add starts one more node, and has it join with a token unless that is empty.
func (c *Cluster) Add(ctx context.Context, token string) (*Daemon, error) {
	node, err := c.addNode()
	if err != nil {
		return nil, err
	}
	if err := node.Start(); err != nil {
		return nil, err
	}
	if token != "" {
		err = c.Join(ctx, node, token)
	}
	return node, err
}

func fillPorts(p Ports) (Ports, error) {
	free, err := Free(4)
	if err != nil {
		return p, err
	}
	for i, port := range []*int{&p.HTTP, &p.Store, &p.Response, &p.Request} {
		if *port == 0 {
			*port = free[i]
		}
	}
	return p, nil
}

// daemon writes the configuration file and the state directory of one daemon.
func (c *Cluster) daemon(bin, program, name, config string, env []string) (*Daemon, error) {
	if err := os.MkdirAll(filepath.Join(c.dir, name), 0o755); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	path := filepath.Join(c.dir, "conf", name+".toml")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	program, err := filepath.Abs(filepath.Join(bin, program))
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	return NewDaemon(DaemonConfig{
		Name: name, Path: program, Args: []string{"--config", path}, Env: env,
		Log: filepath.Join(c.dir, "logs", name+".log"),
	}), nil
}

func (c *Cluster) controllerConfig() string {
	return fmt.Sprintf(`state_dir = %q
reserve = "0"

[http]
listen = %q
socket = %q

[nodes]
plaintext = %q
store_listen = %q
response_listen = %q
request_listen = %q

[trash]
keep = "0"
`, filepath.Join(c.dir, "controller"), Loopback(c.Ports.HTTP), c.Socket(), c.plaintext(),
		Loopback(c.Ports.Store), Loopback(c.Ports.Response), Loopback(c.Ports.Request))
}

// plaintext says with whom the daemons speak without TLS.
func (c *Cluster) plaintext() string {
	if c.joined {
		return "off"
	}
	return "loopback"
}

func (c *Cluster) nodeConfig(i int) string {
	return fmt.Sprintf(`state_dir = %q
chunk_dir = %q
control_socket = %q
reserve = "0"

[controller]
host = "127.0.0.1"
plaintext = %q
http_port = %d
store_port = %d
response_port = %d
request_port = %d
`, c.StateDir(i), c.ChunkDir(i), c.nodeSocket(i), c.plaintext(), c.Ports.HTTP, c.Ports.Store, c.Ports.Response, c.Ports.Request)
}

func (c *Cluster) start(ctx context.Context) error {
	for _, d := range c.Daemons() {
		if err := d.Start(); err != nil {
			return err
		}
	}
	if c.Controller == nil {
		return nil
	}
	if c.joined {
		if err := c.joinAll(ctx); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx, len(c.Nodes))
}

// Daemons are all processes of the array, the controller first.
func (c *Cluster) Daemons() []*Daemon {
	var all []*Daemon
	if c.Controller != nil {
		all = append(all, c.Controller)
	}
	return append(all, c.Nodes...)
}

// Close kills what still runs, frozen processes too. The files stay.
func (c *Cluster) Close() error {
	var errs []error
	for _, d := range c.Daemons() {
		errs = append(errs, d.Kill())
	}
	c.API.HTTP.CloseIdleConnections()
	return errors.Join(append(errs, os.RemoveAll(c.sockets))...)
}

// Terminate ends all processes in an orderly way, the controller first: what it
// has in flight can still end well.
func (c *Cluster) Terminate(limit time.Duration) error {
	var errs []error
	for _, d := range c.Daemons() {
		errs = append(errs, d.Terminate(limit))
	}
	return errors.Join(errs...)
}
