-- The catalog: what files exist, and which chunks on which nodes make them.
-- docs/catalog.md explains it. Everything here must open in SQLite 3.40.

-- One row: what the whole catalog knows of itself. Every write transaction
-- rewrites it.
CREATE TABLE meta (
  one           INTEGER PRIMARY KEY CHECK (one = 1),
  array_id      TEXT    NOT NULL, -- 22 characters, drawn at the first start
  run           INTEGER NOT NULL, -- starts of the controller; the first 32 bits of upload ids
  commit_number INTEGER NOT NULL, -- 19 bits of run, 12 random, 32 counting its write transactions; nodes remember the highest they saw
  next_id       INTEGER NOT NULL, -- no file id from here on was ever given out
  files         INTEGER NOT NULL, -- complete files
  bytes         INTEGER NOT NULL, -- sum of their sizes
  degraded      INTEGER NOT NULL, -- those of them with degraded = 1
  removals      INTEGER NOT NULL  -- rows of removal
) STRICT;

-- Earlier runs, with the last commit number of each. A node that has seen a
-- number of one of them that is higher has seen a catalog that went on where
-- this one was cut off; restarting does not make up for that.
CREATE TABLE run (
  run  INTEGER PRIMARY KEY,
  last INTEGER NOT NULL -- the whole commit number, run included
) STRICT;

-- Native nodes. Rows are never deleted: chunk and removal refer to key.
CREATE TABLE node (
  key         INTEGER PRIMARY KEY,
  id          TEXT    NOT NULL UNIQUE,     -- 22 characters
  zone        TEXT    NOT NULL DEFAULT '',
  address     TEXT    NOT NULL DEFAULT '', -- where it was seen last
  draining    INTEGER NOT NULL DEFAULT 0,
  cleaned_run INTEGER NOT NULL DEFAULT 0,  -- leftovers of runs below this one are gone from it
  removals    INTEGER NOT NULL DEFAULT 0   -- its rows of removal
) STRICT;

-- One attempt to make a file. A file is an upload whose state is 1.
CREATE TABLE upload (
  id           INTEGER PRIMARY KEY,  -- the file id, never used twice
  upload_id    TEXT    NOT NULL UNIQUE, -- 22 characters that begin its chunks' names
  state        INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3), -- 0 uploading, 1 complete, 2 deleted, 3 abandoned
  filename     TEXT    NOT NULL,
  content_type TEXT    NOT NULL,
  created      TEXT    NOT NULL,     -- UTC, YYYY-MM-DD HH:MM:SS
  size         INTEGER NOT NULL,     -- bytes
  sha256       BLOB    NOT NULL,
  level        TEXT    NOT NULL,     -- 'raid1'
  stripe_size  INTEGER NOT NULL,     -- bytes of a full stripe
  stripes      INTEGER NOT NULL,     -- at least 1 once complete
  degraded     INTEGER NOT NULL,     -- some part has fewer good copies on distinct nodes than it should
  lab          INTEGER NOT NULL      -- some copy is on a lab node
) STRICT;

-- Few rows at any time: what start and sweep look for.
CREATE INDEX upload_unsettled ON upload (state, id) WHERE state <> 1;

-- A part of a stripe.
CREATE TABLE part (
  file   INTEGER NOT NULL, -- upload.id
  stripe INTEGER NOT NULL, -- from 0
  part   INTEGER NOT NULL, -- from 1
  length INTEGER NOT NULL, -- bytes
  crc    INTEGER NOT NULL, -- CRC-32C
  PRIMARY KEY (file, stripe, part)
) STRICT, WITHOUT ROWID;

-- A copy of a part. Its chunk's name is computed, see chunk_name. There may be
-- 50 million rows: small integers only, and no index that a healthy native
-- chunk is in.
CREATE TABLE chunk (
  file    INTEGER NOT NULL,
  stripe  INTEGER NOT NULL,
  part    INTEGER NOT NULL,
  copy    INTEGER NOT NULL, -- from 1
  attempt INTEGER NOT NULL, -- from 1; the end of its name
  node    INTEGER,          -- node.key; NULL: unknown, a lab node
  flaw    INTEGER NOT NULL, -- 0 none, 1 bad (missing, corrupt, its node removed), 2 on the same node as another good copy
  PRIMARY KEY (file, stripe, part, copy)
) STRICT, WITHOUT ROWID;

CREATE INDEX chunk_flawed ON chunk (file, stripe, part) WHERE flaw > 0;
CREATE INDEX chunk_on_lab ON chunk (file) WHERE node IS NULL;

-- Chunks that must go from a node: recorded deletes, abandoned uploads,
-- replaced copies. A row leaves when the node has said that the chunk is gone.
CREATE TABLE removal (
  node      INTEGER NOT NULL, -- node.key
  upload_id TEXT    NOT NULL,
  stripe    INTEGER NOT NULL,
  part      INTEGER NOT NULL,
  attempt   INTEGER NOT NULL,
  PRIMARY KEY (node, upload_id, stripe, part, attempt)
) STRICT, WITHOUT ROWID;

-- Idempotency keys of finished uploads. They last 24 hours of the controller's
-- monotonic time, counted anew from each start.
CREATE TABLE idempotency (
  key         TEXT    PRIMARY KEY,
  fingerprint BLOB    NOT NULL, -- 32 bytes, of the request that first used it
  file        INTEGER NOT NULL,
  run         INTEGER NOT NULL, -- the run that finished it
  second      INTEGER NOT NULL  -- seconds after the start of that run
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (run, second);

-- Every chunk with the name that it has on its node: 22 characters of upload,
-- six base-62 digits of stripe, one of part, three of attempt.
CREATE VIEW chunk_name AS
SELECT
  c.file, c.stripe, c.part, c.copy,
  u.upload_id
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.stripe / 916132832 % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.stripe / 14776336 % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.stripe / 238328 % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.stripe / 3844 % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.stripe / 62 % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.stripe % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.part % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.attempt / 3844 % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.attempt / 62 % 62, 1)
    || substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz', 1 + c.attempt % 62, 1) AS name,
  n.id AS node,
  c.flaw
FROM chunk c
JOIN upload u ON u.id = c.file
LEFT JOIN node n ON n.key = c.node;

-- The assignment's table: complete files, with the chunk names of the good
-- copies of the first and of the second halves, stripe after stripe.
CREATE VIEW file AS
SELECT
  u.id, u.filename, u.size, u.content_type, u.created,
  (SELECT group_concat(name, ',') FROM (
     SELECT c.name FROM chunk_name c
     WHERE c.file = u.id AND c.part = 1 AND c.flaw <> 1
     ORDER BY c.stripe, c.copy)) AS part1_filenames,
  (SELECT group_concat(name, ',') FROM (
     SELECT c.name FROM chunk_name c
     WHERE c.file = u.id AND c.part = 2 AND c.flaw <> 1
     ORDER BY c.stripe, c.copy)) AS part2_filenames
FROM upload u
WHERE u.state = 1;
