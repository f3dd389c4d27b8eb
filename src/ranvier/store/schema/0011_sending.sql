-- What other servers are still to be sent.

-- Destinations that lack something: everything up to a position of the log was handed over, or not meant for them.
-- position_ts is a time (milliseconds since the epoch) before anything later was written. While a destination catches
-- up by room, room and version name what it was sent last, and caught_up_at the position that it will have then.
CREATE TABLE lagging_destinations (
    destination TEXT PRIMARY KEY,
    position BIGINT NOT NULL,
    position_ts BIGINT NOT NULL,
    room BIGINT NOT NULL,
    version BIGINT NOT NULL,
    caught_up_at BIGINT
);

-- The position of all other destinations, by share: the part of them that one process sends to at a time.
CREATE TABLE sending_positions (share BIGINT PRIMARY KEY, position BIGINT NOT NULL);

-- Messages to devices of other servers' users: EDUs (JSON) in the order in which the destination gets them.
CREATE TABLE outgoing_to_device (
    destination TEXT NOT NULL,
    place BIGINT NOT NULL,
    edu TEXT NOT NULL,
    PRIMARY KEY (destination, place)
);

-- The newest change of each device of this server's users, deleted ones included. stream_id counts a user's changes.
CREATE TABLE device_changes (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    stream_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);
CREATE INDEX device_changes_stream ON device_changes (user_id, stream_id);
INSERT INTO device_changes (user_id, device_id, stream_id)
SELECT user_id, device_id, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY device_id) FROM device_keys;
