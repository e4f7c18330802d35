-- What agents have spent, by the days of the hive's own time zone, and what bounds it. The agent '' is the whole hive:
-- its row of a day has only what the operator added to the budget, its spending is the sum of all.
CREATE TABLE budget_days (
  agent TEXT NOT NULL,
  day TEXT NOT NULL,
  usd REAL NOT NULL DEFAULT 0,
  tokens INTEGER NOT NULL DEFAULT 0,
  added_usd REAL NOT NULL DEFAULT 0,
  added_tokens INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (agent, day)
) WITHOUT ROWID;
CREATE INDEX budget_days_day ON budget_days (day);

-- How far the events of an agent are counted, and the turn under way.
CREATE TABLE budget_meters (
  agent TEXT NOT NULL PRIMARY KEY,
  incarnation INTEGER NOT NULL,
  meter BLOB NOT NULL
) WITHOUT ROWID;

-- Who was warned in which day (2026-11-22) or month (2026-11).
CREATE TABLE budget_warned (
  agent TEXT NOT NULL,
  period TEXT NOT NULL,
  PRIMARY KEY (agent, period)
) WITHOUT ROWID;

-- The whole hive's own limits: one row at most, as JSON.
CREATE TABLE budget_hive (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  limits BLOB NOT NULL
);
