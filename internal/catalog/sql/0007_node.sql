-- What people decide about a node, and what they are shown of one that is away.
ALTER TABLE node ADD COLUMN named        INTEGER NOT NULL DEFAULT 0 CHECK (named IN (0, 1)); -- 1: name was chosen by a person
ALTER TABLE node ADD COLUMN disk         INTEGER NOT NULL DEFAULT 0;  -- bytes: what its disk showed first, or what was accepted since; 0: not seen yet
ALTER TABLE node ADD COLUMN last_seen    TEXT    NOT NULL DEFAULT ''; -- UTC, YYYY-MM-DD HH:MM:SS, for people alone; so are the next four
ALTER TABLE node ADD COLUMN last_total   INTEGER NOT NULL DEFAULT 0;  -- bytes
ALTER TABLE node ADD COLUMN last_free    INTEGER NOT NULL DEFAULT 0;  -- bytes
ALTER TABLE node ADD COLUMN last_chunks  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN last_version TEXT    NOT NULL DEFAULT '';
