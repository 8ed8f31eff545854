-- What happened to the array, for people. At most 10,000 rows: the oldest go.
CREATE TABLE event (
  seq    INTEGER PRIMARY KEY, -- rising; gaps are fine
  at     TEXT    NOT NULL,    -- UTC, YYYY-MM-DD HH:MM:SS, by the controller's clock: for people alone
  kind   TEXT    NOT NULL,    -- a word, see internal/raid/event.go
  node   TEXT    NOT NULL,    -- node.id that it is about; '' none
  file   INTEGER NOT NULL,    -- upload.id that it is about; 0 none. The file may be gone
  text   TEXT    NOT NULL,    -- what happened
  advice TEXT    NOT NULL     -- what to do about it; '' nothing
) STRICT;

-- What is known of the table event without a look at it, and which program wrote last.
CREATE TABLE event_log (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  kept    INTEGER NOT NULL, -- rows of event
  set_to  INTEGER NOT NULL, -- no run has given out a seq above it
  program TEXT    NOT NULL  -- version of the raid-controller that started last
) STRICT;
INSERT INTO event_log VALUES (1, 0, 0, '');
