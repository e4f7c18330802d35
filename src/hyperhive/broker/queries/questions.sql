-- name: ask
INSERT INTO questions (mid, asker, asker_incarnation, target, target_incarnation, question, options, multi, asked_at,
                       deadline_at)
VALUES (:mid, :asker, :asker_incarnation, :target, :target_incarnation, :question, :options, :multi, :now,
        :deadline_at)
RETURNING *;

-- name: first of the same asking
SELECT * FROM questions INDEXED BY questions_mid
 WHERE asker = :asker AND asker_incarnation = :asker_incarnation AND mid = :mid;

-- name: count_asked
SELECT count(*) AS asked FROM questions INDEXED BY questions_open
 WHERE answered_at IS NULL AND asker = :asker AND asker_incarnation = :asker_incarnation;

-- name: get
SELECT * FROM questions WHERE id = :id;

-- name: unanswered
SELECT * FROM questions INDEXED BY questions_open WHERE answered_at IS NULL ORDER BY id;

-- name: newest
SELECT * FROM questions ORDER BY id DESC LIMIT :limit;

-- name: of one party
SELECT * FROM questions INDEXED BY questions_open
 WHERE answered_at IS NULL AND (asker = :name OR target = :name) ORDER BY id;

-- name: answer by the one it was put to, or by the operator
UPDATE questions SET answered_at = :now, answer = :answer, answerer = :by
 WHERE id = :id AND answered_at IS NULL AND (target = :by OR :by = 'operator')
RETURNING *;

-- name: cancel by the one who asked, or by the operator
UPDATE questions SET answered_at = :now, answer = :answer, answerer = :by
 WHERE id = :id AND answered_at IS NULL AND (asker = :by OR :by = 'operator')
RETURNING *;

-- name: expire
UPDATE questions SET answered_at = :now, answer = :answer, answerer = :by
 WHERE id IN (
   SELECT id FROM questions INDEXED BY questions_due
    WHERE answered_at IS NULL AND deadline_at IS NOT NULL AND deadline_at <= :now
    ORDER BY deadline_at LIMIT :limit
 )
RETURNING *;

-- name: next_due
SELECT min(deadline_at) AS due FROM questions INDEXED BY questions_due
 WHERE answered_at IS NULL AND deadline_at IS NOT NULL;

-- name: forget what a destroyed agent asked and owes
UPDATE questions SET answered_at = :now, answer = :answer, answerer = :by
 WHERE answered_at IS NULL
   AND ((asker = :name AND asker_incarnation = :incarnation)
     OR (target = :name AND target_incarnation = :incarnation))
RETURNING *;

-- name: vacuum
DELETE FROM questions WHERE answered_at < :before;
