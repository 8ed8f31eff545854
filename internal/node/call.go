package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/raidpi/raidpi/internal/reason"
)

const (
	// connectTimeout bounds a connection and its handshake, each.
	connectTimeout = 10 * time.Second
	// callTimeout bounds a call as a whole.
	callTimeout = 40 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes. Ours have some 2 KiB.
	maxAnswer = 64 << 10
	// maxMessage bounds what is shown of a controller's words, in characters.
	maxMessage = 1000
)

// call is one request to the controller's HTTP port, on a connection of its own.
type call struct {
	host string // as a person gave it
	port int
	tls  *tls.Config
	path string
	// body makes the request when the handshake is over; its error ends the call
	// before anything is sent.
	body func(tls.ConnectionState) (any, error)
}

// answerError is the controller's no. It is the cause of the Failure.
type answerError struct{ status int }

func (e *answerError) Error() string { return "status " + strconv.Itoa(e.status) }

// do makes the call and decodes the answer. Its errors are Failures.
func (c *call) do(ctx context.Context, dial dialFunc, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	addr := net.JoinHostPort(c.host, strconv.Itoa(c.port))
	conn, err := c.connect(ctx, dial, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })()
	body, err := c.body(conn.ConnectionState())
	if err != nil {
		return err
	}
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	to := url.URL{Scheme: "https", Host: addr, Path: c.path} // which escapes the % of a zone
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("write a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	writing := req.Write(conn)
	// A node that is not let in learns it with the first read, and its writes may fail.
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxAnswer)), req)
	if err != nil {
		return brokeOff(addr, errors.Join(err, writing))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(addr, resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return brokeOff(addr, reason.Worded("its answer is not raid-controller's", err))
	}
	return nil
}

// dialFunc is net.Dialer's.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

func (c *call) connect(ctx context.Context, dial dialFunc, addr string) (*tls.Conn, error) {
	dialing, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	nc, err := dial(dialing, "tcp", addr)
	if err != nil {
		return nil, notConnected(c.host, addr, c.elsewhere(), err)
	}
	conn := tls.Client(nc, c.tls)
	shaking, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := conn.HandshakeContext(shaking); err != nil {
		_ = nc.Close()
		return nil, noHandshake(addr, err)
	}
	return conn, nil
}

// elsewhere returns the line in which a person names the controller by its address.
func (c *call) elsewhere() string {
	if c.path == joinPath {
		return "sudo raid-node join 192.168.1.10 ..."
	}
	return "host under [controller] in the configuration"
}

// refusal puts the controller's no into words: its own, where it has some.
func refusal(addr string, resp *http.Response) error {
	var problem struct {
		Message string `json:"message"`
		Lose    int64  `json:"lose"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&problem) // a message that can't be read is none
	text := oneLine(problem.Message)
	if text == "" {
		text = fmt.Sprintf("The controller at %s answered with status %d", addr, resp.StatusCode)
	}
	cause := &answerError{resp.StatusCode}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized:
		return fail(ExitRefused, cause, "%s", text)
	case status == http.StatusForbidden:
		return fail(ExitRefused, cause, "%s", text)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return fail(ExitSetRight, cause, "The controller at %s is older than this raid-node and does not know how nodes join. There: sudo apt install --only-upgrade raid-controller", addr)
	case status >= 500, status == http.StatusTooManyRequests:
		return fail(ExitAgain, cause, "%s", text)
	}
	return &Failure{Message: text, Exit: ExitSetRight, Lose: problem.Lose, cause: cause}
}

// oneLine makes text of others fit for a line on a terminal and in a log.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == ' ' || unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
	if runes := []rune(text); len(runes) > maxMessage {
		text = string(runes[:maxMessage]) + ".."
	}
	return text
}
