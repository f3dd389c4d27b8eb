-- What is derived from the log to be looked for, and how far its followers have come.

CREATE TABLE followers (name TEXT PRIMARY KEY, position BIGINT NOT NULL);

-- Words by whose beginnings users are found. word is UTF-8, in the order of its bytes. room is 0 for what the user's
-- profile and id say, otherwise the room (by number) in whose membership the word stands.
CREATE TABLE directory_words (
    word BYTEA NOT NULL,
    user_id TEXT NOT NULL,
    room BIGINT NOT NULL,
    PRIMARY KEY (word, user_id, room)
);
CREATE INDEX directory_words_user ON directory_words (user_id, room);

-- Rooms that everybody may join or read: who is in one of them may be found by everybody.
CREATE TABLE open_rooms (room BIGINT PRIMARY KEY);
