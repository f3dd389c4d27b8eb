-- The processes that share this database, each renewing its row while it lives. Times are milliseconds since the epoch
-- by the database's clock. sees is a list of ids: the processes that this one acts upon the presence of.
CREATE TABLE processes (
    id TEXT PRIMARY KEY,
    instance TEXT NOT NULL,
    roles TEXT NOT NULL,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    address TEXT NOT NULL,
    started BIGINT NOT NULL,
    beats_until BIGINT NOT NULL,
    sees TEXT NOT NULL,
    figures TEXT NOT NULL
);
