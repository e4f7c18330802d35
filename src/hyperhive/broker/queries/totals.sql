-- name: jobs
SELECT state, count(*) FROM jobs GROUP BY state;

-- name: pending_approvals
SELECT count(*) FROM approvals INDEXED BY approvals_pending WHERE status = 'pending';

-- name: open_questions
SELECT count(*) FROM questions INDEXED BY questions_open WHERE answered_at IS NULL;

-- name: last_turn
SELECT coalesce(max(id), 0) FROM turns;

-- name: turns of each agent by how they ended; what a harness said of them is not believed without bounds
SELECT agent, CASE WHEN outcome IN (SELECT value FROM json_each(:outcomes)) THEN outcome ELSE :other END AS outcome,
       count(*) AS turns, total(max(ended_at - started_at, 0)) AS seconds,
       total(min(max(cost_usd, 0), :most_usd)) AS cost_usd, total(max(input_tokens, 0)) AS input_tokens,
       total(max(output_tokens, 0)) AS output_tokens, total(max(cache_read_tokens, 0)) AS cache_read_tokens,
       total(max(cache_creation_tokens, 0)) AS cache_creation_tokens, total(max(tool_calls, 0)) AS tool_calls
  FROM turns NOT INDEXED WHERE id > :after AND id <= :last GROUP BY 1, 2;
