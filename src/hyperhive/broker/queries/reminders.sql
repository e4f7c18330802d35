-- name: remind
INSERT INTO reminders (mid, agent, incarnation, message, due_at, created_at)
VALUES (:mid, :agent, :incarnation, :message, :due_at, :now)
RETURNING *;

-- name: first of the same
SELECT * FROM reminders INDEXED BY reminders_mid
 WHERE agent = :agent AND incarnation = :incarnation AND mid = :mid;

-- name: count_pending of one life of an agent
SELECT count(*) AS pending FROM reminders INDEXED BY reminders_of
 WHERE settled_at IS NULL AND agent = :agent AND incarnation = :incarnation;

-- name: get
SELECT * FROM reminders WHERE id = :id;

-- name: pending, soonest first
SELECT * FROM reminders INDEXED BY reminders_due
 WHERE settled_at IS NULL AND (:agent IS NULL OR agent = :agent) ORDER BY due_at, id;

-- name: counts
SELECT agent, count(*) AS pending FROM reminders INDEXED BY reminders_of WHERE settled_at IS NULL GROUP BY agent;

-- name: cancel
UPDATE reminders SET settled_at = :now, outcome = 'cancelled'
 WHERE id = :id AND settled_at IS NULL AND (:agent IS NULL OR agent = :agent)
RETURNING *;

-- name: come_due
UPDATE reminders SET settled_at = :now, outcome = 'sent'
 WHERE id IN (
   SELECT id FROM reminders INDEXED BY reminders_due
    WHERE settled_at IS NULL AND due_at <= :now
    ORDER BY due_at, id LIMIT :limit
 )
RETURNING *;

-- name: next_due
SELECT min(due_at) AS due FROM reminders INDEXED BY reminders_due WHERE settled_at IS NULL;

-- name: forget what a destroyed agent had set
UPDATE reminders SET settled_at = :now, outcome = 'forgotten'
 WHERE settled_at IS NULL AND agent = :agent AND incarnation = :incarnation
RETURNING *;

-- name: vacuum
DELETE FROM reminders WHERE settled_at < :before;
