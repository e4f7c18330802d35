-- name: add
INSERT INTO turns (agent, incarnation, turn, model, cause, outcome, started_at, ended_at, input_tokens, output_tokens,
                   cache_read_tokens, cache_creation_tokens, cost_usd, tool_calls)
VALUES (:agent, :incarnation, :turn, :model, :cause, :outcome, :started_at, :ended_at, :input_tokens, :output_tokens,
        :cache_read_tokens, :cache_creation_tokens, :cost_usd, :tool_calls)
    ON CONFLICT (agent, incarnation, turn) DO NOTHING;
