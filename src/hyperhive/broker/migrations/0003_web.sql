-- Who may come into the dashboard. Tokens are kept as their SHA-256: what the database holds opens nothing.
CREATE TABLE web_links (
  hash BLOB PRIMARY KEY,
  expires_at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE web_sessions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  hash BLOB NOT NULL UNIQUE,
  created_at REAL NOT NULL,
  seen_at REAL NOT NULL,
  address TEXT NOT NULL DEFAULT '',
  browser TEXT NOT NULL DEFAULT ''
);
