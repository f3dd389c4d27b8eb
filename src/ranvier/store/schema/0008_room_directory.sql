-- Rooms that the room directory shows. published_ts is milliseconds since the epoch.
CREATE TABLE published_rooms (room BIGINT PRIMARY KEY, published_ts BIGINT NOT NULL);

-- A room's threads, and other relations of one kind within a room.
CREATE INDEX relations_room ON relations (room, rel_type, child);
