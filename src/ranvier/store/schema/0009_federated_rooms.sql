-- What rooms need that several servers write.

-- Events that are referred to and absent; child is the number of the event that names one as a previous event.
CREATE TABLE gaps (
    room BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    child BIGINT NOT NULL,
    PRIMARY KEY (room, event_id, child)
);
CREATE INDEX gaps_child ON gaps (room, child);
