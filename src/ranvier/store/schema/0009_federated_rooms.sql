-- What rooms need that several servers write.

-- Only what is in the history is looked for in it: not what was rejected, nor events known by themselves.
DROP INDEX events_history;
CREATE INDEX events_history ON events (room, depth, nid) WHERE outcome = 0;

-- A user's memberships of a room, whatever branch of its history they are on.
CREATE INDEX events_members ON events (room, state_key, nid) WHERE type = 'm.room.member';

-- Events that are referred to and absent; child is the number of the event that names one as a previous event.
CREATE TABLE gaps (
    room BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    child BIGINT NOT NULL,
    PRIMARY KEY (room, event_id, child)
);
CREATE INDEX gaps_child ON gaps (room, child);

-- Redactions (their numbers) that came before what they redact.
CREATE TABLE awaited_redactions (
    target TEXT NOT NULL,
    redaction BIGINT NOT NULL,
    PRIMARY KEY (target, redaction)
);

-- Auth chains of state events: where each event is (a chain is numbered after its first event), and which events of
-- other chains the events of a chain have in their auth chains from a sequence on.
CREATE TABLE auth_places (
    event BIGINT PRIMARY KEY,
    chain BIGINT NOT NULL,
    sequence BIGINT NOT NULL
);
CREATE UNIQUE INDEX auth_places_chain ON auth_places (chain, sequence);
CREATE TABLE auth_links (
    chain BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    to_chain BIGINT NOT NULL,
    to_sequence BIGINT NOT NULL,
    PRIMARY KEY (chain, sequence, to_chain)
);
CREATE INDEX auth_links_to ON auth_links (to_chain, to_sequence, chain);

-- Rooms that we joined through a peer that left members out. base_line is the line of the state before the join, to
-- which the others are added when they come; completed_version is the version of the timeline that did it, null until
-- then. servers is JSON: those that the peer named. join_event is the number of the event that began it.
CREATE TABLE partial_rooms (
    room BIGINT PRIMARY KEY,
    join_event BIGINT NOT NULL,
    base_line BIGINT NOT NULL,
    completed_version BIGINT,
    servers TEXT NOT NULL
);
