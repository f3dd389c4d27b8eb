-- What users report to the administrators: an event (room_id, event_id), a room (room_id), or a user (target_user_id).
-- Times are milliseconds since the epoch.
CREATE TABLE reports (
    id BIGINT PRIMARY KEY,
    received_ts BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    room_id TEXT,
    event_id TEXT,
    target_user_id TEXT,
    reason TEXT,
    score BIGINT
);
