-- Nodes that join show who they are with a key. What the array knows of a node's
-- identity is in the node's row, which is never deleted: a node that was removed
-- must stay known, or it could come back.
ALTER TABLE node ADD COLUMN name     TEXT    NOT NULL DEFAULT ''; -- the machine's host name, for people
ALTER TABLE node ADD COLUMN pin      BLOB    NOT NULL DEFAULT x'' CHECK (length(pin) IN (0, 32)); -- SHA-256 of its public key; empty: it never joined
ALTER TABLE node ADD COLUMN next_pin BLOB    NOT NULL DEFAULT x'' CHECK (length(next_pin) IN (0, 32)); -- of the next key, certified and not seen yet
ALTER TABLE node ADD COLUMN token    TEXT    NOT NULL DEFAULT ''; -- id of the join token that let it in last
ALTER TABLE node ADD COLUMN issued   TEXT    NOT NULL DEFAULT ''; -- when its latest certificate was made: UTC, YYYY-MM-DD HH:MM:SS, see meta.latest
ALTER TABLE node ADD COLUMN removed  INTEGER NOT NULL DEFAULT 0 CHECK (removed BETWEEN 0 AND 2); -- 1 for good, 2 and no chunk on it counts as good any more

-- Uses of join tokens. The tokens themselves are in the controller's memory only,
-- and end with its process.
CREATE TABLE join_use (
  token TEXT    NOT NULL, -- its id
  use   INTEGER NOT NULL, -- from 1
  node  INTEGER NOT NULL, -- node.key
  name  TEXT    NOT NULL, -- the host name that it had then, for people
  PRIMARY KEY (token, use)
) STRICT, WITHOUT ROWID;
