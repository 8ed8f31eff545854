-- How files are spread over nodes: so many complete files have parts whose good
-- copies are on just these sets of nodes. What can't be read when some nodes are
-- away is counted from this, without a look at any chunk. internal/catalog/spread.go
-- says how places are written.
CREATE TABLE spread (
  places TEXT    PRIMARY KEY, -- sets of node.key, such as '1.2 3.4'
  files  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The same of each complete file of many stripes, with the number of its parts on
-- each set, such as '1.2:80 3.4:48'. Those of others are quick to find in chunk.
CREATE TABLE long_file (
  file   INTEGER PRIMARY KEY, -- upload.id
  places TEXT    NOT NULL
) STRICT;

-- Files with ids up to this are in spread. The others follow, in steps.
ALTER TABLE meta ADD COLUMN spread_to INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET spread_to = 9223372036854775807 WHERE NOT EXISTS (SELECT 1 FROM upload);
