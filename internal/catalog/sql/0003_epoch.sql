-- Commit numbers of 27 bits of run, 12 random ones and 24 of counting, instead of
-- 19, 12 and 32: starts used up the runs first. The upper 39 bits are called an
-- epoch. One whose counting is used up is followed by another, with a run number
-- of its own. Runs go on above all that earlier numbers can be taken for.
UPDATE meta SET run = run * 256 + 255 WHERE run > 0;

-- Earlier epochs, with the last commit number of each. A node that has seen a
-- number of one of them that is higher has seen a catalog that went on where
-- this one was cut off; restarting does not make up for that.
CREATE TABLE epoch (
  epoch INTEGER PRIMARY KEY,
  last  INTEGER NOT NULL -- the whole commit number, epoch included
) STRICT;

INSERT INTO epoch SELECT last >> 24, last FROM run;
DROP TABLE run;
