-- Tokens for the REST API. At most 1000 rows: who needs room for more loses the
-- oldest that no longer work.
CREATE TABLE access_token (
  id      TEXT    PRIMARY KEY, -- 8 characters of [A-Za-z0-9]
  name    TEXT    NOT NULL,    -- for people
  scope   INTEGER NOT NULL CHECK (scope BETWEEN 1 AND 3), -- 1 read, 2 write, 3 admin; each includes those before
  sha256  BLOB    NOT NULL CHECK (length(sha256) = 32), -- of the secret, which is nowhere
  created TEXT    NOT NULL,    -- UTC, YYYY-MM-DD HH:MM:SS
  expires TEXT    NOT NULL,    -- the same; '' never. Compared with the highest time ever seen, see meta.latest
  revoked INTEGER NOT NULL     -- 1: it has been taken back
) STRICT, WITHOUT ROWID;

-- The highest time of day that any write transaction has seen. A Pi starts in
-- 1970; a token that was over must not live again then.
ALTER TABLE meta ADD COLUMN latest TEXT NOT NULL DEFAULT '1970-01-01 00:00:00';
