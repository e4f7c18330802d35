-- name: put
INSERT INTO notices (recipient, incarnation, sender, body, created_at)
VALUES (:recipient, :incarnation, :sender, :body, :now)
RETURNING id;

-- name: owed to those who can take it
SELECT id, recipient, incarnation, sender, body FROM notices
 WHERE id > :after AND recipient NOT IN (SELECT value FROM json_each(:stuck))
 ORDER BY id LIMIT :limit;

-- name: count_owed to one recipient
SELECT count(*) AS owed FROM notices WHERE recipient = :recipient;

-- name: settle
DELETE FROM notices WHERE id = :id;
