-- Messages to agents at set times, as their deployed configs say. Times are Unix seconds.
CREATE TABLE schedules (
  agent TEXT NOT NULL,
  name TEXT NOT NULL,
  incarnation INTEGER NOT NULL,
  message TEXT NOT NULL,
  every INTEGER,
  cron TEXT,
  timezone TEXT NOT NULL DEFAULT 'UTC',
  paused INTEGER NOT NULL DEFAULT 0,
  next_at REAL,
  last_at REAL,
  notice INTEGER NOT NULL DEFAULT 0,
  passed INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL,
  PRIMARY KEY (agent, name)
) WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_at) WHERE paused = 0 AND next_at IS NOT NULL;
