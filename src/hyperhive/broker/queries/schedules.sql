-- name: put a new one, or one whose times have changed
INSERT INTO schedules (agent, name, incarnation, message, every, cron, timezone, next_at, created_at)
VALUES (:agent, :name, :incarnation, :message, :every, :cron, :timezone, :next_at, :now)
ON CONFLICT (agent, name) DO UPDATE
   SET message = excluded.message, every = excluded.every, cron = excluded.cron, timezone = excluded.timezone,
       next_at = excluded.next_at;

-- name: say something else at the same times
UPDATE schedules SET message = :message WHERE agent = :agent AND name = :name;

-- name: remove
DELETE FROM schedules WHERE agent = :agent AND name = :name;

-- name: forget a life of an agent
DELETE FROM schedules WHERE agent = :agent AND incarnation = :incarnation;

-- name: forget_the_dead
DELETE FROM schedules
 WHERE NOT EXISTS (
   SELECT 1 FROM agents
    WHERE agents.name = schedules.agent AND agents.incarnation = schedules.incarnation AND agents.destroyed_at IS NULL
 );

-- name: rows of one agent or all, each with whether its latest message is still unread
SELECT *,
       EXISTS (SELECT 1 FROM notices WHERE id = schedules.notice)
       OR EXISTS (
         SELECT 1 FROM messages INDEXED BY messages_mid
          WHERE sender = :system AND sender_incarnation = 0 AND mid = 'notice-' || schedules.notice
            AND state IN ('queued', 'leased')
       ) AS waits
  FROM schedules
 WHERE (:agent IS NULL OR agent = :agent) AND (:name IS NULL OR name = :name)
 ORDER BY agent, name;

-- name: due, soonest first, each with whether its latest message is still unread
SELECT *,
       EXISTS (SELECT 1 FROM notices WHERE id = schedules.notice)
       OR EXISTS (
         SELECT 1 FROM messages INDEXED BY messages_mid
          WHERE sender = :system AND sender_incarnation = 0 AND mid = 'notice-' || schedules.notice
            AND state IN ('queued', 'leased')
       ) AS waits
  FROM schedules INDEXED BY schedules_due
 WHERE paused = 0 AND next_at IS NOT NULL AND next_at <= :now
 ORDER BY next_at, agent, name LIMIT :limit;

-- name: next_due
SELECT min(next_at) AS due FROM schedules INDEXED BY schedules_due WHERE paused = 0 AND next_at IS NOT NULL;

-- name: move_on without a message
UPDATE schedules SET next_at = :next_at, passed = passed + :times WHERE agent = :agent AND name = :name;

-- name: sent
UPDATE schedules SET next_at = :next_at, last_at = :now, notice = :notice, passed = 0
 WHERE agent = :agent AND name = :name;

-- name: set_paused
UPDATE schedules SET paused = :paused, next_at = :next_at WHERE agent = :agent AND name = :name;

-- name: living agent of that name
SELECT incarnation FROM agents WHERE name = :agent AND destroyed_at IS NULL;
