-- name: highest_id
SELECT seq FROM sqlite_sequence WHERE name = 'events';

-- name: seen
SELECT max(seq) FROM events WHERE agent = :agent AND incarnation = :incarnation;

-- name: insert
INSERT INTO events (id, agent, incarnation, seq, ts, kind, payload, passing) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: after
SELECT id, ts, agent, kind, payload FROM events WHERE id > :id ORDER BY id LIMIT :limit;

-- name: after_of one agent
SELECT id, ts, agent, kind, payload FROM events WHERE agent = :agent AND id > :id ORDER BY id LIMIT :limit;

-- name: before_of one agent, newest first, what lasts
SELECT id, ts, agent, kind, payload FROM events
 WHERE agent = :agent AND passing = 0 AND id < :id ORDER BY id DESC LIMIT :limit;

-- name: lasting_after_of one agent
SELECT id, ts, agent, kind, payload FROM events
 WHERE agent = :agent AND passing = 0 AND id > :id ORDER BY id LIMIT :limit;

-- name: latest, newest first
SELECT id, ts, agent, kind, payload FROM events ORDER BY id DESC LIMIT :limit;

-- name: latest_of one agent, newest first
SELECT id, ts, agent, kind, payload FROM events WHERE agent = :agent ORDER BY id DESC LIMIT :limit;

-- name: told_of one agent by the hive: of a kind, among the newest so many of any
SELECT id, ts, agent, kind, payload FROM (
  SELECT id, ts, agent, kind, payload FROM events
   WHERE agent = :agent AND incarnation = 0 ORDER BY seq DESC LIMIT :limit)
 WHERE kind = :kind;

-- name: agents that have events
SELECT DISTINCT agent FROM events;

-- name: last_to_go: the newest of an agent's lasting events that is beyond what is kept
SELECT id FROM (
  SELECT id, row_number() OVER newest AS place, sum(length(payload)) OVER newest AS bytes
    FROM events WHERE agent = :agent AND passing = 0 WINDOW newest AS (ORDER BY id DESC))
 WHERE place > :keep OR bytes > :keep_bytes LIMIT 1;

-- name: last_passing_to_go: the same of the passing ones
SELECT id FROM (
  SELECT id, row_number() OVER newest AS place, sum(length(payload)) OVER newest AS bytes
    FROM events WHERE agent = :agent AND passing = 1 WINDOW newest AS (ORDER BY id DESC))
 WHERE place > :keep OR bytes > :keep_bytes LIMIT 1;

-- name: next_to_go: which lasting events of one agent are deleted in one step
SELECT id FROM (
  SELECT id, size, sum(size) OVER (ORDER BY id) AS bytes FROM (
    SELECT id, length(payload) AS size FROM events
     WHERE agent = :agent AND passing = 0 AND id > :from AND (id <= :last OR ts < :before) ORDER BY id LIMIT :chunk))
 WHERE bytes - size < :chunk_bytes;

-- name: next_passing_to_go: the same of the passing ones, without the newest of all, by which the harness goes on
SELECT id FROM (
  SELECT id, size, sum(size) OVER (ORDER BY id) AS bytes FROM (
    SELECT id, length(payload) AS size FROM events
     WHERE agent = :agent AND passing = 1 AND id > :from AND (id <= :last OR ts < :before)
       AND seq < (SELECT max(seq) FROM events AS all_of_it
                   WHERE all_of_it.agent = events.agent AND all_of_it.incarnation = events.incarnation)
     ORDER BY id LIMIT :chunk))
 WHERE bytes - size < :chunk_bytes;

-- name: delete
DELETE FROM events WHERE id IN (SELECT value FROM json_each(:ids));
