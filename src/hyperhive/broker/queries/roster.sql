-- name: add
INSERT INTO agents (name, role, uid, wanted, description, model, parent, deployed_sha, backend, created_at)
VALUES (:name, :role, :uid, :wanted, :description, :model, :parent, :deployed_sha, :backend, :created_at)
RETURNING *;

-- name: living
SELECT * FROM agents WHERE destroyed_at IS NULL ORDER BY name;

-- name: get
SELECT * FROM agents WHERE destroyed_at IS NULL AND name = :name;

-- name: destroy
UPDATE agents SET destroyed_at = :now WHERE name = :name AND destroyed_at IS NULL RETURNING *;

-- name: lives of a name, newest first
SELECT * FROM agents WHERE name = :name ORDER BY incarnation DESC;

-- name: uids in use
SELECT uid FROM agents WHERE destroyed_at IS NULL AND uid IS NOT NULL;
