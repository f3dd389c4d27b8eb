-- Users of this server and what is theirs. Times are milliseconds since the epoch.

-- password_hash is null where the account has no password here. consent is JSON: the accepted policies' versions.
-- appservice_id names the bridge that owns the account.
CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    password_hash TEXT,
    admin BOOLEAN NOT NULL,
    guest BOOLEAN NOT NULL,
    deactivated BOOLEAN NOT NULL,
    erased BOOLEAN NOT NULL,
    locked BOOLEAN NOT NULL,
    suspended BOOLEAN NOT NULL,
    shadow_banned BOOLEAN NOT NULL,
    user_type TEXT,
    appservice_id TEXT,
    consent TEXT,
    consent_ts BIGINT,
    created_ts BIGINT NOT NULL
);

-- Deactivated users who have still to leave their rooms.
CREATE TABLE departures (user_id TEXT PRIMARY KEY, erase BOOLEAN NOT NULL);

CREATE TABLE threepids (
    medium TEXT NOT NULL,
    address TEXT NOT NULL,
    user_id TEXT NOT NULL,
    validated_ts BIGINT NOT NULL,
    added_ts BIGINT NOT NULL,
    PRIMARY KEY (medium, address)
);
CREATE INDEX threepids_user ON threepids (user_id);

CREATE TABLE devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    created_ts BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

-- When and from where a device was last heard of; written in batches, minutes late.
CREATE TABLE device_sightings (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    seen_ts BIGINT NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT,
    PRIMARY KEY (user_id, device_id)
);

-- Tokens are kept as their SHA-256. refresh_hash is the refresh token that was given out together with it.
-- puppeted_by is the administrator who acts as the user through this token, which then has no device.
-- confirmed_ts is when the user last went through interactive authentication with it.
CREATE TABLE access_tokens (
    hash BYTEA PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT,
    refresh_hash BYTEA,
    puppeted_by TEXT,
    expires_ts BIGINT,
    confirmed_ts BIGINT
);
CREATE INDEX access_tokens_device ON access_tokens (user_id, device_id);
CREATE INDEX access_tokens_refresh ON access_tokens (refresh_hash);

-- replaces is the refresh token that this one was got for, until this one or its access token is used.
CREATE TABLE refresh_tokens (
    hash BYTEA PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    replaces BYTEA,
    expires_ts BIGINT,
    session_expires_ts BIGINT
);
CREATE INDEX refresh_tokens_device ON refresh_tokens (user_id, device_id);
CREATE INDEX refresh_tokens_replaces ON refresh_tokens (replaces);

-- Tokens with one purpose: "login" once, or "openid" to prove to a third party who one is.
CREATE TABLE purpose_tokens (
    hash BYTEA PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_id TEXT NOT NULL,
    expires_ts BIGINT NOT NULL
);
CREATE INDEX purpose_tokens_expiry ON purpose_tokens (expires_ts);
CREATE INDEX purpose_tokens_user ON purpose_tokens (user_id);

-- pending counts registrations under way, completed those that are done; uses_allowed null is without limit.
CREATE TABLE registration_tokens (
    token TEXT PRIMARY KEY,
    uses_allowed BIGINT,
    pending BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    expiry_ts BIGINT
);

CREATE TABLE registration_nonces (nonce TEXT PRIMARY KEY, expires_ts BIGINT NOT NULL);
CREATE INDEX registration_nonces_expiry ON registration_nonces (expires_ts);

-- Interactive authentication under way, by the SHA-256 of the session's id. parameters is the request's body,
-- sealed with a key that only the id yields. user_id is empty where nobody is logged in. flows and completed are JSON.
CREATE TABLE interactive_sessions (
    hash BYTEA PRIMARY KEY,
    operation TEXT NOT NULL,
    user_id TEXT NOT NULL,
    parameters BYTEA NOT NULL,
    flows TEXT NOT NULL,
    completed TEXT NOT NULL,
    registration_token TEXT,
    created_ts BIGINT NOT NULL
);
CREATE INDEX interactive_sessions_created ON interactive_sessions (created_ts);

-- fields is a JSON object of all fields but the first two.
CREATE TABLE profiles (
    user_id TEXT PRIMARY KEY,
    displayname TEXT,
    avatar_url TEXT,
    fields TEXT NOT NULL
);

-- room_id is empty for global data.
CREATE TABLE account_data (
    user_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (user_id, room_id, type)
);

CREATE TABLE filters (
    user_id TEXT NOT NULL,
    filter_id BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (user_id, filter_id)
);
CREATE UNIQUE INDEX filters_digest ON filters (user_id, digest);
