-- name: queue, unless the same request is there already
INSERT INTO approvals (agent, kind, commit_ref, fetched_sha, requested_at, description, requester, mid, warnings)
VALUES (:agent, :kind, :commit_ref, :fetched_sha, :now, :description, :requester, :mid, :warnings)
ON CONFLICT (requester, mid) WHERE mid IS NOT NULL DO NOTHING
RETURNING *;

-- name: first of the same request
SELECT * FROM approvals INDEXED BY approvals_mid WHERE requester = :requester AND mid = :mid;

-- name: pending_alike, whoever asked for it
SELECT * FROM approvals INDEXED BY approvals_pending
 WHERE status = 'pending' AND agent = :agent AND kind = :kind AND commit_ref = :commit_ref ORDER BY id LIMIT 1;

-- name: count_pending of one who asks
SELECT count(*) AS pending FROM approvals INDEXED BY approvals_pending
 WHERE status = 'pending' AND requester = :requester;

-- name: get
SELECT * FROM approvals WHERE id = :id;

-- name: pending
SELECT * FROM approvals INDEXED BY approvals_pending WHERE status = 'pending' ORDER BY id;

-- name: newest
SELECT * FROM approvals ORDER BY id DESC LIMIT :limit;

-- name: before a number, newest first
SELECT * FROM approvals WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: newest_of one agent
SELECT * FROM approvals WHERE agent = :agent ORDER BY id DESC LIMIT :limit;

-- name: of an agent, oldest first
SELECT * FROM approvals WHERE agent = :agent ORDER BY id;

-- name: previous_queued commit of the agent
SELECT * FROM approvals WHERE agent = :agent AND id < :before AND kind = 'apply_commit' ORDER BY id DESC LIMIT 1;

-- name: last_approved commit of the agent
SELECT * FROM approvals
 WHERE agent = :agent AND id < :before AND status = 'approved' AND fetched_sha IS NOT NULL
 ORDER BY id DESC LIMIT 1;

-- name: resolve exactly once
UPDATE approvals SET status = :status, resolved_at = :now, note = :note
 WHERE id = :id AND status = 'pending'
RETURNING *;

-- name: approve exactly once, and only what was shown
UPDATE approvals SET status = 'approved', resolved_at = :now, note = NULL
 WHERE id = :id AND status = 'pending' AND (:sha IS NULL OR fetched_sha = :sha)
RETURNING *;

-- name: fail_approved whose job came to nothing
UPDATE approvals SET status = 'failed', resolved_at = :now, note = :note
 WHERE id = :id AND status = 'approved'
RETURNING *;

-- name: cancel_of a destroyed agent
UPDATE approvals SET status = 'cancelled', resolved_at = :now, note = :note
 WHERE agent = :agent AND status = 'pending'
RETURNING *;
