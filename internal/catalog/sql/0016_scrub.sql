-- When a node last read all its chunks, for people alone, and whether a person has
-- stopped it. One write for each time that it has read them all.
ALTER TABLE node ADD COLUMN scrub_paused INTEGER NOT NULL DEFAULT 0 CHECK (scrub_paused IN (0, 1));
ALTER TABLE node ADD COLUMN scrub_pass   INTEGER NOT NULL DEFAULT 0;  -- which one it was, as the node counts; 0: none yet
ALTER TABLE node ADD COLUMN scrub_began  TEXT    NOT NULL DEFAULT ''; -- UTC, YYYY-MM-DD HH:MM:SS
ALTER TABLE node ADD COLUMN scrub_ended  TEXT    NOT NULL DEFAULT ''; -- the same
