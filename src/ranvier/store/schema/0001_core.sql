-- Rooms, events, state, and the ordered log.

CREATE TABLE schema_version (version BIGINT PRIMARY KEY);

-- Facts about this database: log_generation, log_horizon, server_name.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

-- Blocks of numbers are handed to processes from here.
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);

CREATE TABLE log (
    position BIGINT PRIMARY KEY,
    kind BIGINT NOT NULL,
    audience TEXT NOT NULL,
    ref TEXT NOT NULL
);
CREATE INDEX log_audience ON log (audience, position);

CREATE TABLE rooms (
    nid BIGINT PRIMARY KEY,
    room_id TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL
);

-- Every event that is kept, in the live timeline or not.
-- state_line and state_version name the state before it. received_ts is milliseconds since the epoch.
-- timeline_version is the room's timeline version that it made, null if it never entered the live timeline.
-- transaction_ref is JSON [device id, transaction id] of the sender's own send.
CREATE TABLE events (
    nid BIGINT PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    room BIGINT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT,
    sender TEXT NOT NULL,
    depth BIGINT NOT NULL,
    received_ts BIGINT NOT NULL,
    outcome BIGINT NOT NULL,
    state_line BIGINT NOT NULL,
    state_version BIGINT NOT NULL,
    timeline_version BIGINT,
    redacted_by TEXT,
    transaction_ref TEXT,
    pdu BYTEA NOT NULL
);
CREATE INDEX events_history ON events (room, depth, nid);

-- One row for each change of a room's head, in the order of the room; its key is the compare-and-set.
-- event is null where only state changed. extremities is JSON, null where the event is the only one.
-- state_line and state_version name the state after it.
CREATE TABLE timeline (
    room BIGINT NOT NULL,
    version BIGINT NOT NULL,
    event BIGINT,
    state_line BIGINT NOT NULL,
    state_version BIGINT NOT NULL,
    extremities TEXT,
    PRIMARY KEY (room, version)
);

-- Historical state: a line is a row of versions, each changing one key (state_changes, which differs by database); it
-- may start from another line, and then goes on with that one's versions.
CREATE TABLE state_lines (
    line BIGINT PRIMARY KEY,
    room BIGINT NOT NULL,
    parent_line BIGINT,
    parent_version BIGINT
);

CREATE TABLE current_state (
    room BIGINT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    event BIGINT NOT NULL,
    PRIMARY KEY (room, type, state_key)
);

-- Who is or was what in which room. room is the room's number; invites and knocks to rooms that are not known
-- keep their stripped state (JSON).
CREATE TABLE memberships (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    room BIGINT NOT NULL,
    membership TEXT NOT NULL,
    event BIGINT NOT NULL,
    sender TEXT NOT NULL,
    forgotten BOOLEAN NOT NULL,
    stripped_state TEXT,
    PRIMARY KEY (user_id, room_id)
);
CREATE INDEX memberships_room ON memberships (room, membership);

-- What was answered to a client's transaction id, so that a retry is answered and not repeated.
CREATE TABLE transactions (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    result TEXT NOT NULL,
    created_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, scope, txn_id)
);
CREATE INDEX transactions_created ON transactions (created_ts);

CREATE TABLE relations (
    parent TEXT NOT NULL,
    child BIGINT NOT NULL,
    room BIGINT NOT NULL,
    rel_type TEXT NOT NULL,
    type TEXT NOT NULL,
    sender TEXT NOT NULL,
    aggregation_key TEXT,
    PRIMARY KEY (parent, child)
);
CREATE INDEX relations_child ON relations (child);

CREATE TABLE room_aliases (
    alias TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    creator TEXT NOT NULL
);
CREATE INDEX room_aliases_room ON room_aliases (room_id);
