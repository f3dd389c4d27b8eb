-- sent_ts is milliseconds since the epoch, as the sender's server says. key names where in the event the text stands.
CREATE TABLE search_texts (
    event BIGINT PRIMARY KEY,
    room BIGINT NOT NULL,
    key TEXT NOT NULL,
    sent_ts BIGINT NOT NULL,
    words TSVECTOR NOT NULL
);
CREATE INDEX search_texts_words ON search_texts USING GIN (words);
