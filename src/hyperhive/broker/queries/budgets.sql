-- name: meter
SELECT incarnation, meter FROM budget_meters WHERE agent = :agent;

-- name: put_meter
INSERT INTO budget_meters (agent, incarnation, meter) VALUES (:agent, :incarnation, :meter)
    ON CONFLICT (agent) DO UPDATE SET incarnation = excluded.incarnation, meter = excluded.meter;

-- name: add
INSERT INTO budget_days (agent, day, usd, tokens, added_usd, added_tokens)
VALUES (:agent, :day, :usd, :tokens, :added_usd, :added_tokens)
    ON CONFLICT (agent, day) DO UPDATE SET usd = usd + excluded.usd, tokens = tokens + excluded.tokens,
       added_usd = added_usd + excluded.added_usd, added_tokens = added_tokens + excluded.added_tokens;

-- name: month of each agent, and its day
SELECT agent, total(usd) AS month_usd, sum(tokens) AS month_tokens,
       total(added_usd) AS month_added_usd, sum(added_tokens) AS month_added_tokens,
       total(usd * (day = :day)) AS day_usd, sum(tokens * (day = :day)) AS day_tokens,
       total(added_usd * (day = :day)) AS day_added_usd, sum(added_tokens * (day = :day)) AS day_added_tokens
  FROM budget_days INDEXED BY budget_days_day WHERE day >= :month || '-01' AND day <= :month || '-31'
 GROUP BY agent;

-- name: warn
INSERT INTO budget_warned (agent, period) VALUES (:agent, :period) ON CONFLICT DO NOTHING RETURNING period;

-- name: forget_warnings
DELETE FROM budget_warned WHERE agent = :agent AND period IN (:day, :month);

-- name: hive_limits
SELECT limits FROM budget_hive;

-- name: put_hive_limits
INSERT INTO budget_hive (one, limits) VALUES (1, :limits) ON CONFLICT (one) DO UPDATE SET limits = excluded.limits;

-- name: vacuum
DELETE FROM budget_days WHERE day < :day;

-- name: vacuum_warned
DELETE FROM budget_warned WHERE period < :month;
