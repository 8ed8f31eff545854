-- Files in the trash are spread over nodes like others, and are counted beside them: what
-- rests on a node are both.
ALTER TABLE spread     ADD COLUMN trash INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spread_set ADD COLUMN trash INTEGER NOT NULL DEFAULT 0;

-- Where some file is in the trash, all are counted anew, in steps.
UPDATE meta SET spread_to = 0 WHERE trash_files > 0;
DELETE FROM spread WHERE (SELECT spread_to FROM meta) = 0;
DELETE FROM spread_set WHERE (SELECT spread_to FROM meta) = 0;
DELETE FROM long_file WHERE (SELECT spread_to FROM meta) = 0;
