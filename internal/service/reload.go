package service

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// reloads reads the configuration anew at each SIGHUP, until ctx ends. One that
// comes before the daemon is ready waits until it is: READY=1, which ends a reload,
// would say so too early.
func (r *running[C]) reloads(ctx context.Context, hangups <-chan os.Signal) {
	select {
	case <-r.notify.readied():
	case <-ctx.Done():
		return
	}
	for {
		select {
		case <-hangups:
			r.notify.reloading()
			r.reload()
			r.notify.Ready()
		case <-ctx.Done():
			return
		}
	}
}

// reload takes over what can be taken over while the daemon runs. A configuration
// that is refused changes nothing.
func (r *running[C]) reload() {
	cfg, err := r.Load(r.config, r.env)
	if err == nil {
		var from string
		if from, err = r.applyLevel(cfg); err == nil {
			r.compare(cfg, from)
			return
		}
	}
	for line := range strings.Lines(err.Error()) {
		r.log.Error("the configuration is refused, the old one stays: " + strings.TrimSpace(line))
	}
	r.notify.set(&r.notify.note, "Configuration refused: "+err.Error()+"; the old one stays")
}

// compare says what a new configuration changes, and what of that has to wait for
// a restart. levelFrom names the source of the log level.
func (r *running[C]) compare(cfg C, levelFrom string) {
	values := cfg.Values()
	var waiting []string
	for key, value := range values {
		switch {
		case value == r.values[key]:
		case key != levelKey:
			waiting = append(waiting, key)
		case levelFrom == levelKey:
			r.values[levelKey] = value
			r.log.Info("taken over from the configuration", "key", key, "value", value)
		default:
			r.log.Warn("log_level of the configuration has no effect: "+levelFrom+" wins over it", "level", r.level.Level())
		}
	}
	if len(waiting) == 0 {
		r.log.Info("the configuration was read anew; nothing waits for a restart")
		r.notify.set(&r.notify.note, "")
		return
	}
	slices.Sort(waiting)
	keys := strings.Join(waiting, ", ")
	restart := "sudo systemctl restart " + r.Program
	r.log.Warn("the configuration has changed in what is read at the start alone; until then the old values hold. Now: "+restart, "keys", keys)
	r.notify.set(&r.notify.note, fmt.Sprintf("Changed, and not in use before a restart: %s (%s)", keys, restart))
}
