-- Content of the repository. sha256 (hex) names the file; it is null until the content was uploaded, which must
-- happen before expires_ts. Times are milliseconds since the epoch. authenticated: only the endpoints that ask for
-- a token serve it.
CREATE TABLE media (
    media_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    expires_ts BIGINT,
    uploaded_ts BIGINT,
    sha256 TEXT,
    size BIGINT NOT NULL,
    content_type TEXT NOT NULL,
    filename TEXT,
    authenticated BOOLEAN NOT NULL
);
CREATE INDEX media_user ON media (user_id, uploaded_ts);
CREATE INDEX media_sha256 ON media (sha256);
