-- Invites and knocks of this server's users in rooms that it is not in: the server that knows of them (via), and the
-- membership event's id.
CREATE TABLE invitations (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    room_version TEXT NOT NULL,
    event_id TEXT NOT NULL,
    via TEXT NOT NULL,
    PRIMARY KEY (user_id, room_id)
);
