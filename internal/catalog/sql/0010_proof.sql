-- The key that the array's commit numbers are proved with, so that nodes, which keep
-- them, can't make any. It is derived from the key of the array's CA, and kept here for
-- two reasons: a catalog that is put back has to have the key of the one that was lost,
-- and a new CA has another key.
CREATE TABLE proof (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;
