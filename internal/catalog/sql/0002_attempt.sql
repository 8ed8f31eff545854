-- Attempts of parts whose copies were made anew: what makes sure that no chunk
-- name is used twice. An upload numbers its attempts from 1 to 1000 and never
-- comes back; every later number is set aside here, durably, before a chunk of
-- that name is sent to any node. Most parts have no row.
CREATE TABLE attempt (
  file   INTEGER NOT NULL, -- upload.id
  stripe INTEGER NOT NULL,
  part   INTEGER NOT NULL,
  last   INTEGER NOT NULL, -- the last number set aside, above 1000
  PRIMARY KEY (file, stripe, part)
) STRICT, WITHOUT ROWID;
