-- Receipts, read positions, push rules.

-- version is the event's place in the room's timeline: a receipt never goes back.
-- thread is empty for receipts that name none, otherwise "main" or the thread's root.
CREATE TABLE receipts (
    room BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    type TEXT NOT NULL,
    thread TEXT NOT NULL,
    event_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    PRIMARY KEY (room, user_id, type, thread)
);

-- Up to which version of a room's timeline a user has read, by receipt or by sending, and the counter there.
CREATE TABLE read_positions (
    room BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    thread TEXT NOT NULL,
    version BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    PRIMARY KEY (room, user_id, thread)
);

-- Where an event means another thing to one user than to all: added to the difference of counters.
CREATE TABLE unread_marks (
    room BIGINT NOT NULL,
    user_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    thread TEXT NOT NULL,
    notify BIGINT NOT NULL,
    highlight BIGINT NOT NULL,
    PRIMARY KEY (room, user_id, version)
);

-- The running counter of events that notify, where one of them changed it. thread is "main" or a thread's root.
CREATE TABLE unread_counters (
    room BIGINT NOT NULL,
    thread TEXT NOT NULL,
    version BIGINT NOT NULL,
    counter BIGINT NOT NULL,
    PRIMARY KEY (room, thread, version)
);

-- What a user changed of the predefined push rules, and their own (JSON).
CREATE TABLE push_rules (user_id TEXT PRIMARY KEY, changes TEXT NOT NULL);
