CREATE SEQUENCE log_position;

-- A commit whose outcome is unknown is looked up here by its id before it is repeated.
CREATE TABLE batches (id TEXT PRIMARY KEY, first_position BIGINT, committed_at BIGINT NOT NULL);
CREATE INDEX batches_committed ON batches (committed_at);

-- Changes of historical state: by key for single values, by version for what changed between two. event is null
-- where the key went away.
CREATE TABLE state_changes (
    line BIGINT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    version BIGINT NOT NULL,
    event BIGINT,
    PRIMARY KEY (line, type, state_key, version)
);
CREATE UNIQUE INDEX state_changes_version ON state_changes (line, version);
