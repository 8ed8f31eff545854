package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below Linux's range for outgoing connections (32768 and up,
// /proc/sys/net/ipv4/ip_local_port_range). A daemon that is killed and started again must find its
// port free, and not held by some connection.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// Free finds n ports on 127.0.0.1 that nobody listens on at the moment.
func Free(n int) ([]int, error) {
	ports := make([]int, 0, n)
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		ln, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			continue
		}
		defer ln.Close() // only at the end, so that no port is found twice
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d on 127.0.0.1: all that were tried are taken", n, lowestPort, highestPort)
}

// Taken returns the first of the ports that another program listens on.
func Taken(ports ...int) (port int, taken bool) {
	for _, port := range ports {
		ln, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			return port, true
		}
		ln.Close()
	}
	return 0, false
}

// Loopback is the address of a port on this machine.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// errEnded tells a daemon that ended while it was waited for from other failures.
var errEnded = errors.New("ended before the array was ready")
