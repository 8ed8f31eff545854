package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/service"
)

const (
	maxOrder        = 16 << 10 // bytes of a request on the control socket
	controlPatience = 2 * time.Second
)

// Status describes a node.
type Status struct {
	Status  string       `json:"status"` // one line for a person
	Node    raid.NodeID  `json:"node"`
	Array   raid.ArrayID `json:"array"` // of the disk; empty: none
	Joined  bool         `json:"joined"`
	Removed bool         `json:"removed"` // from the array that it had joined, whose controller says so
	Name    string       `json:"name"`    // that the array calls it by; empty: not known yet
	Version string       `json:"version"`
	// The trash holds chunks that are unlinked later, or when room is needed.
	TrashChunks       int64 `json:"trash_chunks"`
	TrashBytes        int64 `json:"trash_bytes"`
	ControllerAddress       // where the controller is looked for
}

// listenControl opens the control socket; a call that comes early waits. A node without one
// keeps its chunks all the same.
func (d *daemon) listenControl() {
	if d.cfg.ControlSocket == "" {
		return
	}
	ln, err := service.ListenLocal(d.cfg.ControlSocket)
	if err != nil {
		d.cfg.Log.Warn("There is no control socket, so raid-node join and the like find nobody", "reason", err)
		return
	}
	d.control = ln
}

// serveControl serves the control socket until ctx ends.
func (d *daemon) serveControl(ctx context.Context) error {
	ln := d.control
	if ln == nil {
		return nil
	}
	select {
	case <-d.begun:
	case <-ctx.Done():
		return ln.Close()
	}
	srv := &http.Server{
		Handler: d.controls(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: maxOrder,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(d.cfg.Log.Handler(), slog.LevelError),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		patience, cancel := context.WithTimeout(context.Background(), controlPatience)
		defer cancel()
		if srv.Shutdown(patience) != nil {
			_ = srv.Close()
		}
	})
	err := srv.Serve(ln)
	if !stop() {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve the control socket: %w", err)
}

func (d *daemon) controls() http.Handler {
	mux := http.NewServeMux()
	// Of memory alone: whether the node is alive is asked for all day.
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, struct{}{}) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, d.status()) })
	mux.HandleFunc("POST /join", command(d.join))
	mux.HandleFunc("POST /leave", command(d.leave))
	mux.HandleFunc("POST /reset-identity", command(d.reset))
	return mux
}

// command serves one of the node's commands.
func command[Order any](run func(context.Context, Order) (*Done, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var order Order
		in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		in.DisallowUnknownFields()
		if err := in.Decode(&order); err != nil {
			reply(w, http.StatusBadRequest, &Failure{Message: "The request on the control socket can't be read; are raid-node and its daemon of the same version?", Exit: ExitSetRight})
			return
		}
		done, err := run(r.Context(), order)
		if err != nil {
			reply(w, http.StatusConflict, failureOf(err))
			return
		}
		reply(w, http.StatusOK, done)
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}

func (d *daemon) status() Status {
	l := d.current.Load()
	store := l.store.Stats()
	removed := l.removed.Load()
	name := ""
	if told := l.name.Load(); told != nil {
		name = *told
	}
	return Status{
		Name: name,

		Status: l.line(), Node: d.disk.Node(), Array: d.disk.Array(), Joined: l.who.Load() != nil && !removed, Removed: removed,
		Version: d.cfg.Version, TrashChunks: store.TrashChunks, TrashBytes: store.TrashBytes, ControllerAddress: d.controllerAddress(),
	}
}
