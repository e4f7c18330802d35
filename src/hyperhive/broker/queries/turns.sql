-- name: add
INSERT INTO turns (agent, incarnation, turn, model, cause, outcome, started_at, ended_at, input_tokens, output_tokens,
                   cache_read_tokens, cache_creation_tokens, cost_usd, tool_calls)
VALUES (:agent, :incarnation, :turn, :model, :cause, :outcome, :started_at, :ended_at, :input_tokens, :output_tokens,
        :cache_read_tokens, :cache_creation_tokens, :cost_usd, :tool_calls)
    ON CONFLICT (agent, incarnation, turn) DO NOTHING;

-- name: latest
SELECT agent, incarnation, turn, model, cause, outcome, started_at, ended_at, input_tokens, output_tokens,
       cache_read_tokens, cache_creation_tokens, cost_usd, tool_calls
  FROM turns INDEXED BY turns_of WHERE agent = :agent ORDER BY id DESC LIMIT 1;

-- name: spent by each agent
SELECT agent, total(min(max(cost_usd, 0), :most_usd)) AS cost_usd FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since GROUP BY agent;

-- name: totals
SELECT count(*) AS turns, total(min(max(cost_usd, 0), :most_usd)) AS cost_usd,
       total(max(input_tokens, 0)) AS input_tokens, total(max(output_tokens, 0)) AS output_tokens,
       total(max(cache_read_tokens, 0)) AS cache_read_tokens,
       total(max(cache_creation_tokens, 0)) AS cache_creation_tokens, total(max(tool_calls, 0)) AS tool_calls
  FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since AND ended_at < :until AND (:agent IS NULL OR agent = :agent);

-- name: parts of the time, those in which a turn ended
SELECT min(cast((ended_at - :since) / :part_s AS INTEGER), :parts - 1) AS part, count(*) AS turns,
       sum(outcome <> 'ok') AS not_ok, total(min(max(cost_usd, 0), :most_usd)) AS cost_usd,
       total(max(input_tokens, 0)) + total(max(output_tokens, 0)) + total(max(cache_read_tokens, 0))
         + total(max(cache_creation_tokens, 0)) AS tokens,
       total(max(tool_calls, 0)) AS tool_calls, total(max(ended_at - started_at, 0)) / count(*) AS mean_s
  FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since AND ended_at < :until AND (:agent IS NULL OR agent = :agent)
 GROUP BY part ORDER BY part;

-- name: duration of the turn that so many were shorter than
SELECT max(ended_at - started_at, 0) AS seconds FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since AND ended_at < :until AND (:agent IS NULL OR agent = :agent)
 ORDER BY seconds LIMIT 1 OFFSET :place;

-- name: by_outcome
SELECT substr(outcome, 1, :letters) AS name, count(*) AS turns, total(min(max(cost_usd, 0), :most_usd)) AS cost_usd
  FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since AND ended_at < :until AND (:agent IS NULL OR agent = :agent)
 GROUP BY name ORDER BY turns DESC, name LIMIT :limit;

-- name: by_cause
SELECT substr(cause, 1, :letters) AS name, count(*) AS turns, total(min(max(cost_usd, 0), :most_usd)) AS cost_usd
  FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since AND ended_at < :until AND (:agent IS NULL OR agent = :agent)
 GROUP BY name ORDER BY turns DESC, name LIMIT :limit;

-- name: by_model
SELECT substr(model, 1, :letters) AS name, count(*) AS turns, total(min(max(cost_usd, 0), :most_usd)) AS cost_usd
  FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since AND ended_at < :until AND (:agent IS NULL OR agent = :agent)
 GROUP BY name ORDER BY turns DESC, name LIMIT :limit;

-- name: by_agent
SELECT agent AS name, count(*) AS turns, total(min(max(cost_usd, 0), :most_usd)) AS cost_usd
  FROM turns INDEXED BY turns_ended
 WHERE ended_at >= :since AND ended_at < :until AND (:agent IS NULL OR agent = :agent)
 GROUP BY name ORDER BY cost_usd DESC, turns DESC, name LIMIT :limit;

-- name: vacuum
DELETE FROM turns WHERE id IN (
  SELECT id FROM turns INDEXED BY turns_ended WHERE ended_at < :before LIMIT :chunk
);
