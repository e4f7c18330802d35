-- name: add
INSERT INTO jobs (agent, kind, params, source, requester, reason, approval, parent, created_at)
VALUES (:agent, :kind, :params, :source, :requester, :reason, :approval, :parent, :now)
RETURNING *;

-- name: last_queued of the agent
SELECT * FROM jobs INDEXED BY jobs_open
 WHERE state = 'queued' AND agent = :agent
 ORDER BY id DESC LIMIT 1;

-- name: count_queued of the agent
SELECT count(*) AS queued FROM jobs INDEXED BY jobs_open WHERE state = 'queued' AND agent = :agent;

-- name: get
SELECT * FROM jobs WHERE id = :id;

-- name: unfinished, first what runs
SELECT * FROM jobs INDEXED BY jobs_open WHERE state = 'queued' OR state = 'running' ORDER BY state = 'queued', id;

-- name: newest
SELECT * FROM jobs ORDER BY id DESC LIMIT :limit;

-- name: before a number, newest first
SELECT * FROM jobs WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: newest_of one agent
SELECT * FROM jobs WHERE agent = :agent ORDER BY id DESC LIMIT :limit;

-- name: begin, or begin again after a crash, unless another job of the agent runs
UPDATE jobs SET state = 'running', attempts = attempts + 1, progress = '', started_at = coalesce(started_at, :now)
 WHERE id = :id AND (state = 'queued' OR state = 'running')
   AND NOT EXISTS (
     SELECT 1 FROM jobs AS other
      WHERE other.agent = jobs.agent AND other.state = 'running' AND other.id <> jobs.id
   )
RETURNING *;

-- name: cancel
UPDATE jobs SET state = 'cancelled', ended_at = :now, error = :note
 WHERE id = :id AND state = 'queued'
RETURNING *;

-- name: progress
UPDATE jobs SET progress = :text WHERE id = :id AND state = 'running' RETURNING *;

-- name: end
UPDATE jobs SET state = :state, ended_at = :now, error = :error, error_kind = :error_kind
 WHERE id = :id AND state = 'running'
RETURNING *;

-- name: last_line
SELECT coalesce(max(seq), 0) AS seq FROM job_lines WHERE job = :job;

-- name: add_line
INSERT INTO job_lines (job, seq, ts, text) VALUES (:job, :seq, :now, :text);

-- name: leave_out the middle of a long log
DELETE FROM job_lines WHERE job = :job AND seq > :first AND seq <= :last;

-- name: mark_left_out
UPDATE job_lines SET text = :text WHERE job = :job AND seq = :seq;

-- name: lines
SELECT seq, ts, text FROM job_lines WHERE job = :job AND seq > :after ORDER BY seq;

-- name: vacuum_lines
DELETE FROM job_lines WHERE job IN (
  SELECT id FROM jobs WHERE state NOT IN ('queued', 'running') AND ended_at < :before ORDER BY id LIMIT :chunk
);

-- name: vacuum
DELETE FROM jobs WHERE id IN (
  SELECT id FROM jobs WHERE state NOT IN ('queued', 'running') AND ended_at < :before ORDER BY id LIMIT :chunk
);
