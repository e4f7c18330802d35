-- Proposals: who asked, and what the operator is warned of.
ALTER TABLE approvals ADD COLUMN requester TEXT NOT NULL DEFAULT 'operator';
ALTER TABLE approvals ADD COLUMN mid TEXT;
ALTER TABLE approvals ADD COLUMN warnings TEXT NOT NULL DEFAULT '[]';
CREATE UNIQUE INDEX approvals_mid ON approvals (requester, mid) WHERE mid IS NOT NULL;

ALTER TABLE agents ADD COLUMN parent TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN built_with TEXT NOT NULL DEFAULT '';

-- What is live, and what was: one row for every commit that was deployed, under its approval's number.
CREATE TABLE deployments (
  agent TEXT NOT NULL,
  approval INTEGER NOT NULL,
  sha TEXT NOT NULL,
  deployed_at REAL NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (agent, approval)
) WITHOUT ROWID;

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent TEXT NOT NULL,
  kind TEXT NOT NULL,
  params TEXT NOT NULL DEFAULT '{}',
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
  source TEXT NOT NULL,
  requester TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  approval INTEGER,
  parent INTEGER,
  created_at REAL NOT NULL,
  started_at REAL,
  ended_at REAL,
  attempts INTEGER NOT NULL DEFAULT 0,
  progress TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '',
  error_kind TEXT NOT NULL DEFAULT ''
);
CREATE INDEX jobs_open ON jobs (id) WHERE state = 'queued' OR state = 'running';
CREATE INDEX jobs_of ON jobs (agent, id);
-- one at a time for each agent, whatever the code does
CREATE UNIQUE INDEX jobs_alone ON jobs (agent) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_approval ON jobs (approval) WHERE approval IS NOT NULL;

CREATE TABLE job_lines (
  job INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  ts REAL NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (job, seq)
) WITHOUT ROWID;

CREATE TABLE questions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  mid TEXT,
  asker TEXT NOT NULL,
  asker_incarnation INTEGER NOT NULL,
  target TEXT NOT NULL,
  target_incarnation INTEGER NOT NULL,
  question TEXT NOT NULL,
  options TEXT NOT NULL DEFAULT '[]',
  multi INTEGER NOT NULL DEFAULT 0,
  asked_at REAL NOT NULL,
  deadline_at REAL,
  answered_at REAL,
  answer TEXT,
  answerer TEXT
);
CREATE UNIQUE INDEX questions_mid ON questions (asker, asker_incarnation, mid) WHERE mid IS NOT NULL;
CREATE INDEX questions_open ON questions (id) WHERE answered_at IS NULL;
CREATE INDEX questions_due ON questions (deadline_at) WHERE answered_at IS NULL AND deadline_at IS NOT NULL;

CREATE TABLE reminders (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  mid TEXT,
  agent TEXT NOT NULL,
  incarnation INTEGER NOT NULL,
  message TEXT NOT NULL,
  due_at REAL NOT NULL,
  created_at REAL NOT NULL,
  settled_at REAL,
  outcome TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX reminders_mid ON reminders (agent, incarnation, mid) WHERE mid IS NOT NULL;
CREATE INDEX reminders_due ON reminders (due_at) WHERE settled_at IS NULL;
CREATE INDEX reminders_of ON reminders (agent, incarnation) WHERE settled_at IS NULL;

-- Messages that the hive owes somebody: written with what they are about, gone once the mailbox has them.
CREATE TABLE notices (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  recipient TEXT NOT NULL,
  incarnation INTEGER,
  sender TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at REAL NOT NULL
);
