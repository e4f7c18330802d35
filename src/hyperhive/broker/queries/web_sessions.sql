-- name: invite
INSERT INTO web_links (hash, expires_at) VALUES (:hash, :expires_at);

-- name: forget_links that are too old
DELETE FROM web_links WHERE expires_at <= :now;

-- name: expects this link
SELECT 1 FROM web_links WHERE hash = :hash AND expires_at > :now;

-- name: take a link, once
DELETE FROM web_links WHERE hash = :hash AND expires_at > :now RETURNING hash;

-- name: begin
INSERT INTO web_sessions (hash, created_at, seen_at, address, browser)
VALUES (:hash, :now, :now, :address, :browser)
RETURNING *;

-- name: of a token's hash
SELECT * FROM web_sessions WHERE hash = :hash AND created_at > :begun_after AND seen_at > :seen_after;

-- name: alive, newest first
SELECT * FROM web_sessions WHERE created_at > :begun_after AND seen_at > :seen_after ORDER BY id DESC;

-- name: seen
UPDATE web_sessions SET seen_at = :now WHERE id = :id;

-- name: end
DELETE FROM web_sessions WHERE id = :id RETURNING *;

-- name: end_all
DELETE FROM web_sessions RETURNING *;

-- name: forget what has ended by itself, and the oldest beyond the most that are kept
DELETE FROM web_sessions
 WHERE created_at <= :begun_after OR seen_at <= :seen_after
    OR id <= (SELECT max(id) FROM web_sessions) - :most;
