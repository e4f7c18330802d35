-- name: queue
INSERT INTO approvals (agent, kind, commit_ref, fetched_sha, requested_at, description)
VALUES (:agent, :kind, :commit_ref, :fetched_sha, :now, :description)
RETURNING *;

-- name: get
SELECT * FROM approvals WHERE id = :id;

-- name: pending
SELECT * FROM approvals INDEXED BY approvals_pending WHERE status = 'pending' ORDER BY id;

-- name: newest
SELECT * FROM approvals ORDER BY id DESC LIMIT :limit;

-- name: resolve exactly once
UPDATE approvals SET status = :status, resolved_at = :now, note = :note
 WHERE id = :id AND status = 'pending'
RETURNING *;

-- name: fail what was approved and then could not be done
UPDATE approvals SET status = 'failed', resolved_at = :now, note = :note
 WHERE id = :id AND status = 'approved'
RETURNING *;

-- name: cancel_of a destroyed agent
UPDATE approvals SET status = 'cancelled', resolved_at = :now, note = :note
 WHERE agent = :agent AND status = 'pending'
RETURNING *;
