-- Deleted files that can still be put back. upload.state 2 is such a file from here on;
-- 3 is everything that goes for good: uploads that were given up, and files that no
-- longer can be put back. What was deleted before goes as it would have.
UPDATE upload SET state = 3 WHERE state = 2 AND state <> 1;

-- One row for each upload of state 2.
CREATE TABLE trash (
  file    INTEGER PRIMARY KEY, -- upload.id
  since   INTEGER NOT NULL,    -- meta.ran when it was deleted
  deleted TEXT    NOT NULL     -- UTC, YYYY-MM-DD HH:MM:SS, for people alone
) STRICT;

-- The oldest goes first.
CREATE INDEX trash_by_age ON trash (since, file);

-- How long controllers have run with this catalog, in milliseconds over all starts, as
-- of the last write. What they ran after it is forgotten with a power cut: a file then
-- stays longer, never shorter.
ALTER TABLE meta ADD COLUMN ran INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN trash_files INTEGER NOT NULL DEFAULT 0; -- rows of trash
ALTER TABLE meta ADD COLUMN trash_bytes INTEGER NOT NULL DEFAULT 0; -- sum of their files' sizes
