CREATE SEQUENCE log_position;

-- A commit whose outcome is unknown is looked up here by its id before it is repeated.
CREATE TABLE batches (id TEXT PRIMARY KEY, first_position BIGINT, committed_at BIGINT NOT NULL);
CREATE INDEX batches_committed ON batches (committed_at);
