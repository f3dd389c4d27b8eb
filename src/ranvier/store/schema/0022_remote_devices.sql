-- Devices of users of other servers, as far as this server follows them: it does while it shares a room with them.
-- stream_id is the other server's order of its news; stale: news were missed, so that the list is to be fetched anew.
-- fetched_ts is milliseconds since the epoch.
CREATE TABLE remote_device_lists (
    user_id TEXT PRIMARY KEY,
    stream_id BIGINT NOT NULL,
    stale BOOLEAN NOT NULL,
    fetched_ts BIGINT NOT NULL
);

-- keys is the object that the other server gave, as JSON.
CREATE TABLE remote_devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    keys TEXT,
    display_name TEXT,
    PRIMARY KEY (user_id, device_id)
);
