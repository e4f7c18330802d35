-- To when a usage limit holds an agent (0: none does), on whose word (empty: its own claude's) and what for.
ALTER TABLE agents ADD COLUMN limited_until REAL NOT NULL DEFAULT 0;
ALTER TABLE agents ADD COLUMN limited_by TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN limited_for TEXT NOT NULL DEFAULT '';

-- What the operator keeps of every account's windows: one row at most.
CREATE TABLE reserve (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  percent INTEGER NOT NULL
);
