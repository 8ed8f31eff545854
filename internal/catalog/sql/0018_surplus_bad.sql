-- A surplus copy that was read and is not good. It stays while its part lacks good copies,
-- counts as none, and is not read again.
ALTER TABLE surplus ADD COLUMN bad INTEGER NOT NULL DEFAULT 0 CHECK (bad IN (0, 1));

-- A part without any other good copy rests on its surplus ones, and is counted so.
UPDATE meta SET spread_to = 0 WHERE EXISTS (SELECT 1 FROM surplus);
DELETE FROM spread WHERE (SELECT spread_to FROM meta) = 0;
DELETE FROM spread_set WHERE (SELECT spread_to FROM meta) = 0;
DELETE FROM long_file WHERE (SELECT spread_to FROM meta) = 0;
