package catalog

import (
	"context"
	"database/sql/driver"
	"embed"
	"fmt"
	"log/slog"

	"github.com/raidpi/raidpi/internal/raid"
)

//go:embed sql/*.sql
var sqlFiles embed.FS

// applicationID marks the database as a raidpi catalog: "raid" in ASCII.
const applicationID = 0x72616964

// migration is one step of the schema. Steps are applied in order, each in a
// transaction that also sets PRAGMA user_version to its number, from 1.
type migration struct{ name, sql string }

// migrations reads the embedded steps. Their names begin with their numbers.
func migrations() []migration {
	entries, err := sqlFiles.ReadDir("sql")
	if err != nil {
		panic(err) // embedded at build time
	}
	var out []migration
	for i, e := range entries {
		if want := fmt.Sprintf("%04d_", i+1); e.Name()[:len(want)] != want {
			panic("migration " + e.Name() + " is not number " + want)
		}
		b, err := sqlFiles.ReadFile("sql/" + e.Name())
		if err != nil {
			panic(err)
		}
		out = append(out, migration{e.Name(), string(b)})
	}
	return out
}

// migrator brings a catalog's schema up to date.
type migrator struct {
	conn     *conn
	path     string
	steps    []migration
	progress progress
	log      *slog.Logger
}

// run applies the steps that are missing, and tells whether it has changed a catalog
// that has data. Before it touches one, it leaves a copy of it beside it, named after
// its version.
func (m *migrator) run(ctx context.Context) (changed bool, err error) {
	removeParts(m.path)
	version, err := schemaVersion(m.conn)
	if err != nil {
		return false, err
	}
	if version > int64(len(m.steps)) {
		return false, newer(m.path, version, len(m.steps))
	}
	if version == int64(len(m.steps)) {
		return false, nil
	}
	if version > 0 {
		if err := m.copyFirst(ctx, version); err != nil {
			return false, err
		}
	}
	for i := version; i < int64(len(m.steps)); i++ {
		if err := m.apply(ctx, i); err != nil {
			return false, fmt.Errorf("apply %s: %w", m.steps[i].name, err)
		}
		m.log.Info("catalog schema", "version", i+1, "step", m.steps[i].name)
	}
	prune(m.path, m.log)
	return version > 0, nil
}

// apply brings the schema from version to the next.
func (m *migrator) apply(ctx context.Context, version int64) error {
	step := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT;\n",
		m.steps[version].sql, applicationID, version+1)
	name := fmt.Sprintf("bringing the catalog to version %d", version+1)
	return m.progress.during(name, 0, touched(m.path, m.path+"-wal"), func() error {
		err := m.conn.longScript(ctx, step)
		if err != nil {
			_ = m.conn.script("ROLLBACK")
		}
		return refuseStep(m.path, err)
	})
}

// schemaVersion is the number of the last step applied, 0 for an empty database.
// Other programs' databases are refused.
func schemaVersion(c *conn) (version int64, err error) {
	var id, tables int64
	err = c.query(func(r []driver.Value) error {
		version, id, tables = integer(r[0]), integer(r[1]), integer(r[2])
		return nil
	}, `SELECT v.user_version, a.application_id, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_user_version v, pragma_application_id a`)
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	if id != applicationID && (id != 0 || tables != 0) {
		return 0, fmt.Errorf("%w: %w: it is a database of another program (application id %#x); give raid-controller another state_dir",
			ErrRefused, raid.ErrInvalid, id)
	}
	return version, nil
}
