-- Which backend makes an agent's containers. Until now there was one.
ALTER TABLE agents ADD COLUMN backend TEXT NOT NULL DEFAULT 'bubblewrap';
