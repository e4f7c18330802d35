-- name: highest_id
SELECT seq FROM sqlite_sequence WHERE name = 'events';

-- name: seen
SELECT max(seq) FROM events WHERE agent = :agent AND incarnation = :incarnation;

-- name: insert
INSERT INTO events (id, agent, incarnation, seq, ts, kind, payload) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: after
SELECT id, ts, agent, kind, payload FROM events WHERE id > :id ORDER BY id LIMIT :limit;

-- name: after_of one agent
SELECT id, ts, agent, kind, payload FROM events WHERE agent = :agent AND id > :id ORDER BY id LIMIT :limit;

-- name: latest, newest first
SELECT id, ts, agent, kind, payload FROM events ORDER BY id DESC LIMIT :limit;

-- name: latest_of one agent, newest first
SELECT id, ts, agent, kind, payload FROM events WHERE agent = :agent ORDER BY id DESC LIMIT :limit;

-- name: agents that have events
SELECT DISTINCT agent FROM events;

-- name: first_kept: the oldest of the newest so many
SELECT id FROM events WHERE agent = :agent ORDER BY id DESC LIMIT 1 OFFSET :keep;

-- name: trim one step of one agent
DELETE FROM events WHERE id IN (
  SELECT id FROM events WHERE agent = :agent AND (id <= :last OR ts < :before) ORDER BY id LIMIT :chunk);
