-- Files that have no row of their own in spread, by each set of nodes that some of
-- their parts have their good copies on, such as '1.2', and by each node, '@1'. So
-- what rests on nodes is told closely when files are spread in ever more ways: there
-- are no more pairs of nodes. internal/catalog/sets.go says more.
CREATE TABLE spread_set (
  places TEXT    PRIMARY KEY,
  files  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Where such files are, they are counted anew, in steps.
UPDATE meta SET spread_to = 0 WHERE EXISTS (SELECT 1 FROM spread WHERE places LIKE '~%' OR places LIKE '*%');
DELETE FROM spread WHERE (SELECT spread_to FROM meta) = 0;
DELETE FROM long_file WHERE (SELECT spread_to FROM meta) = 0;
