-- Nodes that people drain or replace; node.draining is there from the beginning.
ALTER TABLE node ADD COLUMN drained   INTEGER NOT NULL DEFAULT 0 CHECK (drained IN (0, 1));  -- 1: nothing rested on it any more, which was told
ALTER TABLE node ADD COLUMN replaced  INTEGER NOT NULL DEFAULT 0 CHECK (replaced IN (0, 1)); -- 1: another node takes its place, and it leaves the array then
ALTER TABLE node ADD COLUMN successor TEXT    NOT NULL DEFAULT '';                           -- id of that node; '': it has not joined yet
ALTER TABLE node ADD COLUMN filling   INTEGER NOT NULL DEFAULT 0 CHECK (filling IN (0, 1));  -- 1: it lacks copies, and has not got its share of those of others yet
