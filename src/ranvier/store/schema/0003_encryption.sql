-- Keys for end-to-end encryption, backups of room keys, and messages to devices.

-- Identity keys of devices of this server's users: the uploaded object as JSON.
CREATE TABLE device_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    keys TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

-- place orders a device's keys by upload. A claimed key stays for a while, so that a repeated upload does not
-- bring it back; claimed_ts is milliseconds since the epoch, null while the key can be claimed.
CREATE TABLE one_time_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    key TEXT NOT NULL,
    claimed_ts BIGINT,
    PRIMARY KEY (user_id, device_id, algorithm, key_id)
);
CREATE INDEX one_time_keys_unclaimed ON one_time_keys (user_id, device_id, algorithm, place) WHERE claimed_ts IS NULL;

CREATE TABLE fallback_keys (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    key_id TEXT NOT NULL,
    key TEXT NOT NULL,
    used BOOLEAN NOT NULL,
    PRIMARY KEY (user_id, device_id, algorithm)
);

-- purpose is master, self_signing or user_signing; public_key the key in unpadded Base64, key the object as JSON.
CREATE TABLE cross_signing_keys (
    user_id TEXT NOT NULL,
    purpose TEXT NOT NULL,
    public_key TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (user_id, purpose)
);

-- Signatures that were added to a key after its upload. target_key is a device id or a public key,
-- signing_key a key identifier such as ed25519:ABC.
CREATE TABLE key_signatures (
    target_user TEXT NOT NULL,
    target_key TEXT NOT NULL,
    signer TEXT NOT NULL,
    signing_key TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (target_user, target_key, signer, signing_key)
);
CREATE INDEX key_signatures_signer ON key_signatures (signer, signing_key);

-- A user's newest version also stays when it is deleted, so that its number is not given again.
-- etag counts changes of the backed up keys, key_count the keys.
CREATE TABLE key_backups (
    user_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    algorithm TEXT NOT NULL,
    auth_data TEXT NOT NULL,
    etag BIGINT NOT NULL,
    key_count BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL,
    PRIMARY KEY (user_id, version)
);

CREATE TABLE backed_up_keys (
    user_id TEXT NOT NULL,
    version BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    is_verified BOOLEAN NOT NULL,
    session_data TEXT NOT NULL,
    PRIMARY KEY (user_id, version, room_id, session_id)
);

-- Messages that wait for devices. The log's entry names the id and gives the order of delivery;
-- place only tells how many wait.
CREATE TABLE to_device_messages (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX to_device_messages_device ON to_device_messages (user_id, device_id, place);
