-- Who can receive mail, and the harness that speaks for it. The operator always can.
CREATE TABLE mailboxes (
  name TEXT PRIMARY KEY,
  incarnation INTEGER NOT NULL,
  epoch INTEGER NOT NULL DEFAULT 0,
  boot_id TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
INSERT INTO mailboxes (name, incarnation) VALUES ('operator', 0);

CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  mid TEXT,
  sender TEXT NOT NULL,
  sender_incarnation INTEGER NOT NULL,
  recipient TEXT NOT NULL,
  recipient_incarnation INTEGER NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  in_reply_to INTEGER,
  caused_by TEXT,
  thread INTEGER NOT NULL,
  broadcast INTEGER,
  sent_at REAL NOT NULL,
  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'leased', 'read', 'acked', 'dead', 'dropped')),
  attempts INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  not_before REAL NOT NULL DEFAULT 0,
  turn TEXT,
  earlier_turns TEXT NOT NULL DEFAULT '[]',
  read_at REAL,
  settled_at REAL,
  note TEXT NOT NULL DEFAULT '',
  dst_host TEXT,
  origin_host TEXT,
  origin_id INTEGER
);
-- dedupe of sends
CREATE UNIQUE INDEX messages_mid ON messages (sender, sender_incarnation, mid) WHERE mid IS NOT NULL;
-- the hot set: what still has to be handled, however long the history is
CREATE INDEX messages_open ON messages (recipient, state, id) WHERE state = 'queued' OR state = 'leased' OR state = 'read';
CREATE INDEX messages_backed_off ON messages (recipient, sender, id) WHERE state = 'queued' AND not_before > 0;
CREATE INDEX messages_dead ON messages (id) WHERE state = 'dead';
-- lists and threads
CREATE INDEX messages_to ON messages (recipient, id);
CREATE INDEX messages_turn ON messages (turn) WHERE turn IS NOT NULL;
CREATE INDEX messages_caused_by ON messages (caused_by) WHERE caused_by IS NOT NULL;
CREATE INDEX messages_broadcast ON messages (broadcast) WHERE broadcast IS NOT NULL;
-- many hosts
CREATE INDEX messages_outbound ON messages (dst_host, id) WHERE dst_host IS NOT NULL;
CREATE UNIQUE INDEX messages_origin ON messages (origin_host, origin_id) WHERE origin_id IS NOT NULL;

CREATE TABLE agents (
  name TEXT NOT NULL,
  incarnation INTEGER PRIMARY KEY AUTOINCREMENT,
  role TEXT NOT NULL,
  uid INTEGER,
  wanted TEXT NOT NULL CHECK (wanted IN ('up', 'down')),
  paused INTEGER NOT NULL DEFAULT 0,
  description TEXT NOT NULL DEFAULT '',
  model TEXT NOT NULL DEFAULT '',
  failure TEXT NOT NULL DEFAULT '',
  asleep INTEGER NOT NULL DEFAULT 0,
  deployed_sha TEXT NOT NULL DEFAULT '',
  session_id TEXT NOT NULL DEFAULT '',
  context_tokens INTEGER NOT NULL DEFAULT 0,
  status_text TEXT NOT NULL DEFAULT '',
  status_set_at REAL,
  needs_login INTEGER NOT NULL DEFAULT 0,
  created_at REAL NOT NULL,
  destroyed_at REAL
);
CREATE UNIQUE INDEX agents_alive ON agents (name) WHERE destroyed_at IS NULL;
CREATE UNIQUE INDEX agents_uid ON agents (uid) WHERE destroyed_at IS NULL AND uid IS NOT NULL;

CREATE TABLE approvals (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent TEXT NOT NULL,
  kind TEXT NOT NULL,
  commit_ref TEXT NOT NULL DEFAULT '',
  fetched_sha TEXT,
  requested_at REAL NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending',
  resolved_at REAL,
  note TEXT,
  description TEXT
);
CREATE INDEX approvals_pending ON approvals (id) WHERE status = 'pending';
CREATE INDEX approvals_of ON approvals (agent, id);

CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent TEXT NOT NULL,
  incarnation INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  ts REAL NOT NULL,
  kind TEXT NOT NULL,
  payload BLOB NOT NULL
);
CREATE UNIQUE INDEX events_seq ON events (agent, incarnation, seq);
CREATE INDEX events_of ON events (agent, id);

CREATE TABLE turns (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  agent TEXT NOT NULL,
  incarnation INTEGER NOT NULL,
  turn TEXT NOT NULL,
  model TEXT NOT NULL DEFAULT '',
  cause TEXT NOT NULL DEFAULT '',
  outcome TEXT NOT NULL,
  started_at REAL NOT NULL,
  ended_at REAL NOT NULL,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  cache_read_tokens INTEGER NOT NULL DEFAULT 0,
  cache_creation_tokens INTEGER NOT NULL DEFAULT 0,
  cost_usd REAL NOT NULL DEFAULT 0,
  tool_calls INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX turns_turn ON turns (agent, incarnation, turn);
CREATE INDEX turns_of ON turns (agent, id);
CREATE INDEX turns_ended ON turns (ended_at);
