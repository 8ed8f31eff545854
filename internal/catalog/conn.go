package catalog

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"

	"modernc.org/sqlite"
)

// conn is one connection with its prepared statements, for one goroutine at a
// time. It speaks to the driver below database/sql. The connections live as long
// as the catalog, so a pool has nothing to add, and its conversions and locks
// cost more than the small statements themselves.
type conn struct {
	raw   driver.Conn
	stmts map[string]driver.Stmt
	row   []driver.Value
}

// openConn opens the database at path, through a file system that checks seals. The
// pragmas are run in order.
func openConn(path string, query url.Values, pragmas ...string) (*conn, error) {
	vfs, err := sealedOver(query.Get("vfs"))
	if err != nil {
		return nil, err
	}
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	query.Set("vfs", vfs)
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}
	connector, err := sqlite.NewConnector(dsn.String())
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(context.Background())
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, stmts: make(map[string]driver.Stmt)}
	for _, p := range pragmas {
		if err := c.script("PRAGMA " + p); err != nil {
			_ = c.close()
			return nil, fmt.Errorf("set %s: %w", p, err)
		}
	}
	return c, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = s.Close()
	}
	return c.raw.Close()
}

// script runs statements that are not worth keeping.
func (c *conn) script(sql string, args ...any) error {
	return c.longScript(context.Background(), sql, args...)
}

// longScript is script for what takes so long that somebody may want to end it:
// when ctx ends, SQLite is interrupted.
func (c *conn) longScript(ctx context.Context, sql string, args ...any) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(ctx, sql, named(args))
	return err
}

// prepared returns the statement for sql, which must be one of a fixed set of
// texts: statements are kept as long as the connection. They must say LIMIT +?
// and not LIMIT ?, whose value SQLite plans for, anew at each use.
func (c *conn) prepared(sql string) (driver.Stmt, error) {
	if s := c.stmts[sql]; s != nil {
		return s, nil
	}
	s, err := c.raw.Prepare(sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", sql, err)
	}
	c.stmts[sql] = s
	return s, nil
}

// exec runs sql and returns the number of rows that it changed. Arguments must
// be of a type that a driver takes: int64, string, []byte, bool or nil.
func (c *conn) exec(sql string, args ...any) (int64, error) {
	s, err := c.prepared(sql)
	if err != nil {
		return 0, err
	}
	res, err := s.(driver.StmtExecContext).ExecContext(context.Background(), named(args))
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query runs sql and calls scan for each row. The row's slice is used again for
// the next one; its strings and bytes are not.
func (c *conn) query(scan func(row []driver.Value) error, sql string, args ...any) error {
	s, err := c.prepared(sql)
	if err != nil {
		return err
	}
	rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), named(args))
	if err != nil {
		return err
	}
	n := len(rows.Columns())
	if cap(c.row) < n {
		c.row = make([]driver.Value, n)
	}
	return each(rows, c.row[:n], scan)
}

// longQuery is query for what takes so long that somebody may want to end it. The
// statement is not kept.
func (c *conn) longQuery(ctx context.Context, scan func(row []driver.Value) error, sql string, args ...any) (err error) {
	rows, err := c.raw.(driver.QueryerContext).QueryContext(ctx, sql, named(args))
	if err != nil {
		return err
	}
	return each(rows, make([]driver.Value, len(rows.Columns())), scan)
}

// each calls scan for each row, and closes rows.
func each(rows driver.Rows, row []driver.Value, scan func(row []driver.Value) error) (err error) {
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for {
		if err := rows.Next(row); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := scan(row); err != nil {
			return err
		}
	}
}

// queryInt runs a query for one integer. ok is false when there is no row.
func (c *conn) queryInt(sql string, args ...any) (v int64, ok bool, err error) {
	err = c.query(func(row []driver.Value) error {
		v, ok = integer(row[0]), true
		return nil
	}, sql, args...)
	return v, ok, err
}

func named(args []any) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}

// integer, text and blob read columns of STRICT tables, whose types are known;
// NULL reads as the zero value.
func integer(v driver.Value) int64 { n, _ := v.(int64); return n }
func text(v driver.Value) string   { s, _ := v.(string); return s }
func blob(v driver.Value) []byte   { b, _ := v.([]byte); return b }

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
