-- Content of other servers that this one has fetched; what an id stands for never changes. sha256 (hex) names the file.
-- fetched_ts is milliseconds since the epoch.
CREATE TABLE remote_media (
    server_name TEXT NOT NULL,
    media_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    filename TEXT,
    fetched_ts BIGINT NOT NULL,
    PRIMARY KEY (server_name, media_id)
);
CREATE INDEX remote_media_sha256 ON remote_media (sha256);
