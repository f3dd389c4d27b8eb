-- Without row ids the table is its own index, which takes half the space.
-- Changes of historical state: by key for single values, by version for what changed between two. event is null
-- where the key went away.
CREATE TABLE state_changes (
    line BIGINT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    version BIGINT NOT NULL,
    event BIGINT,
    PRIMARY KEY (line, type, state_key, version)
) WITHOUT ROWID;
CREATE UNIQUE INDEX state_changes_version ON state_changes (line, version);
