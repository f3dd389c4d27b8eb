-- Threads that users follow, or followed (MSC4306). automatic: their client did it for them. unfollowed_at is the version
-- of the room's timeline at which they ended it: null while they follow.
CREATE TABLE thread_subscriptions (
    user_id TEXT NOT NULL,
    room BIGINT NOT NULL,
    thread TEXT NOT NULL,
    automatic BOOLEAN NOT NULL,
    unfollowed_at BIGINT,
    PRIMARY KEY (user_id, room, thread)
);
