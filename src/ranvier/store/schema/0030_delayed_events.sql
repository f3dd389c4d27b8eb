-- Events that shall be sent later (MSC4140). Times are milliseconds since the epoch. content is JSON; state_key is null
-- for message events. outcome is null while it waits, then send, cancel or error (JSON of the error in error).
CREATE TABLE delayed_events (
    delay_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    state_key TEXT,
    content TEXT NOT NULL,
    delay BIGINT NOT NULL,
    running_since BIGINT NOT NULL,
    outcome TEXT,
    event_id TEXT,
    error TEXT,
    finalised_ts BIGINT
);
CREATE INDEX delayed_events_due ON delayed_events ((running_since + delay)) WHERE finalised_ts IS NULL;
CREATE INDEX delayed_events_user ON delayed_events (user_id);
CREATE INDEX delayed_events_finalised ON delayed_events (finalised_ts) WHERE finalised_ts IS NOT NULL;
