-- Other servers that did not answer: since when, when they were last tried, and for how many milliseconds from then
-- they are left alone (wait_ms, which chance made of base_ms).
CREATE TABLE destinations (
    destination TEXT PRIMARY KEY,
    since_ts BIGINT NOT NULL,
    tried_ts BIGINT NOT NULL,
    base_ms BIGINT NOT NULL,
    wait_ms BIGINT NOT NULL
);
CREATE INDEX destinations_tried ON destinations (tried_ts);

-- Public keys of other servers. valid_until_ts: until when the key counts, for a retired key when it was retired.
-- document is the JSON that the key came in, signed by its server (and perhaps by notaries); fetched_ts is when.
-- Keys are never dropped: what they once signed must stay verifiable when their server is gone.
CREATE TABLE server_keys (
    server_name TEXT NOT NULL,
    key_id TEXT NOT NULL,
    public BYTEA NOT NULL,
    valid_until_ts BIGINT NOT NULL,
    fetched_ts BIGINT NOT NULL,
    document BYTEA NOT NULL,
    PRIMARY KEY (server_name, key_id)
);
