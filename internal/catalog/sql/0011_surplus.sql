-- Good copies that the catalog no longer needs: their node was away for so long that
-- others were made. No read uses one. When the node is back, the copies that spread best
-- are kept and the others become removals. Few rows: what lost nodes held.
CREATE TABLE surplus (
  file    INTEGER NOT NULL, -- upload.id
  stripe  INTEGER NOT NULL,
  part    INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  node    INTEGER NOT NULL, -- node.key
  PRIMARY KEY (file, stripe, part, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX surplus_on ON surplus (node);
