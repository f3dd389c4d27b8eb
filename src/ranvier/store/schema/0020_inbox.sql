-- Events that other servers sent, checked for form, hash and signatures, that the room has still to take in. place is
-- the order in which they came; pdu is what may be used of them. Times are milliseconds since the epoch.
CREATE TABLE inbox (
    room BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    origin TEXT NOT NULL,
    pdu BYTEA NOT NULL,
    tries BIGINT NOT NULL,
    due_ts BIGINT NOT NULL,
    PRIMARY KEY (room, event_id)
);
CREATE INDEX inbox_place ON inbox (room, place);

-- What was answered to other servers' transactions, so that a retry is answered and not repeated.
CREATE TABLE received_transactions (
    origin TEXT NOT NULL,
    txn_id TEXT NOT NULL,
    answer TEXT NOT NULL,
    received_ts BIGINT NOT NULL,
    PRIMARY KEY (origin, txn_id)
);
CREATE INDEX received_transactions_ts ON received_transactions (received_ts);
