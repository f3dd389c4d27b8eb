-- sent_ts is milliseconds since the epoch, as the sender's server says. key names where in the event the text stands.
CREATE TABLE search_texts (
    event BIGINT PRIMARY KEY,
    room BIGINT NOT NULL,
    key TEXT NOT NULL,
    sent_ts BIGINT NOT NULL
);
-- The words of those texts; place holds the room as a word.
CREATE VIRTUAL TABLE search_words USING fts5(place, words, tokenize = 'ascii');
