-- name: get
SELECT percent FROM reserve;

-- name: put
INSERT INTO reserve (one, percent) VALUES (1, :percent) ON CONFLICT (one) DO UPDATE SET percent = excluded.percent;
