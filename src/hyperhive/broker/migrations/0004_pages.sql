-- What the pages need: an agent's history without the pieces of texts that a later event has whole, and tokens for
-- programs. Of each token only its SHA-256 is kept.
ALTER TABLE events ADD COLUMN passing INTEGER NOT NULL DEFAULT 0;
UPDATE events SET passing = 1
 WHERE kind = 'stream' AND substr(payload, 1, 47) = CAST('{"kind":"stream","value":{"type":"stream_event"' AS BLOB);
CREATE INDEX events_lasting ON events (agent, id) WHERE passing = 0;

CREATE TABLE api_tokens (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  hash BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL,
  scope TEXT NOT NULL CHECK (scope IN ('read', 'operate')),
  created_at REAL NOT NULL,
  expires_at REAL,
  used_at REAL
);
