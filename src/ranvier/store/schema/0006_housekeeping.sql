-- Work that one process at a time does, and until when (milliseconds since the epoch) it is nobody else's.
CREATE TABLE jobs (name TEXT PRIMARY KEY, holder TEXT NOT NULL, leased_until BIGINT NOT NULL);

-- How far the log was, when: what lies at or below a position is older than its mark.
CREATE TABLE log_marks (position BIGINT PRIMARY KEY, marked_ts BIGINT NOT NULL);

-- Redacted events whose original is still kept, by number.
CREATE TABLE kept_originals (event BIGINT PRIMARY KEY, redacted_ts BIGINT NOT NULL);
CREATE INDEX kept_originals_ts ON kept_originals (redacted_ts);
INSERT INTO kept_originals (event, redacted_ts)
SELECT e.nid, r.received_ts FROM events e JOIN events r ON r.event_id = e.redacted_by;
