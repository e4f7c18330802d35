-- name: create, unless there are too many
INSERT INTO api_tokens (hash, name, scope, created_at, expires_at)
SELECT :hash, :name, :scope, :now, :expires_at WHERE (SELECT count(*) FROM api_tokens) < :most
RETURNING *;

-- name: of a token's hash
SELECT * FROM api_tokens WHERE hash = :hash AND (expires_at IS NULL OR expires_at > :now);

-- name: alive, newest first
SELECT * FROM api_tokens WHERE expires_at IS NULL OR expires_at > :now ORDER BY id DESC;

-- name: used
UPDATE api_tokens SET used_at = :now WHERE id = :id;

-- name: revoke
DELETE FROM api_tokens WHERE id = :id AND (expires_at IS NULL OR expires_at > :now) RETURNING *;

-- name: forget what has expired
DELETE FROM api_tokens WHERE expires_at <= :now;
