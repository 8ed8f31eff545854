-- Chunks that are about to be stored outside of an upload, such as a copy that is made
-- anew. A row comes before the chunk, in the transaction that numbers it, and leaves
-- with the result: the copy's row, or a removal. What a start finds here came to
-- nothing, and becomes removals. Few rows.
CREATE TABLE intent (
  node      INTEGER NOT NULL, -- node.key
  upload_id TEXT    NOT NULL,
  stripe    INTEGER NOT NULL,
  part      INTEGER NOT NULL,
  attempt   INTEGER NOT NULL,
  PRIMARY KEY (node, upload_id, stripe, part, attempt)
) STRICT, WITHOUT ROWID;
