-- Status messages of this server's users, and when they set them (milliseconds since the epoch).
CREATE TABLE presence (user_id TEXT PRIMARY KEY, status_msg TEXT NOT NULL, set_ts BIGINT NOT NULL);
