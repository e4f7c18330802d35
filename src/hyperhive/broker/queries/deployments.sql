-- name: put what is live now
INSERT INTO deployments (agent, approval, sha, deployed_at, description)
VALUES (:agent, :approval, :sha, :deployed_at, :description)
ON CONFLICT (agent, approval) DO UPDATE
   SET sha = excluded.sha, deployed_at = excluded.deployed_at, description = excluded.description;

-- name: of an agent, newest first
SELECT * FROM deployments WHERE agent = :agent ORDER BY deployed_at DESC, approval DESC LIMIT :limit;

-- name: get
SELECT * FROM deployments WHERE agent = :agent AND approval = :approval;

-- name: forget
DELETE FROM deployments WHERE agent = :agent;
