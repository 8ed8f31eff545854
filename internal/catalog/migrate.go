package catalog

import (
	"database/sql/driver"
	"embed"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

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

// migrate brings the schema up to date. Before it touches a catalog that has
// data, it leaves a copy of it beside it, named after its version.
func migrate(c *conn, path string, steps []migration, log *slog.Logger) error {
	version, err := schemaVersion(c)
	if err != nil {
		return err
	}
	if version > int64(len(steps)) {
		return fmt.Errorf("%w: its schema is version %d and this raid-controller knows up to %d; install a newer raid-controller",
			raid.ErrUnsupported, version, len(steps))
	}
	if version == int64(len(steps)) {
		return nil
	}
	if version > 0 {
		backup := fmt.Sprintf("%s.v%d", path, version)
		if err := copyTo(c, backup); err != nil {
			return fmt.Errorf("copy to %s before changing the schema: %w", backup, err)
		}
		log.Info("catalog copied before its schema changes", "copy", backup, "version", version)
	}
	for i := version; i < int64(len(steps)); i++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT;\n", steps[i].sql, applicationID, i+1)
		if err := c.script(step); err != nil {
			_ = c.script("ROLLBACK")
			return fmt.Errorf("apply %s: %w", steps[i].name, err)
		}
		log.Info("catalog schema", "version", i+1, "step", steps[i].name)
	}
	return nil
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
		return 0, fmt.Errorf("%w: it is a database of another program (application id %#x)", raid.ErrInvalid, id)
	}
	return version, nil
}

// copyTo writes a copy of the database to target, durably, replacing an earlier
// copy only when the new one is whole.
func copyTo(c *conn, target string) error {
	part := target + ".part"
	if err := os.Remove(part); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // VACUUM INTO takes an empty file
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := c.exec("VACUUM INTO ?", part); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(part, target); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(target))
}
