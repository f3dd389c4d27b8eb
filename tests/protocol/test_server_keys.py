"""Documents of keys: what is published can be read, and what is not vouched for can't."""

from typing import Any

import pytest

from ranvier.protocol import server_keys, unpadded_base64
from ranvier.protocol.server_keys import LONGEST_VALIDITY_MS, BadServerKeys, OldKey
from ranvier.protocol.signing import SigningKey

NOW = 1_700_000_000_000
DAY_MS = 86_400_000
FIRST = SigningKey("a.test", "ed25519:first", bytes(range(32)))
SECOND = SigningKey("a.test", "ed25519:second", bytes(range(1, 33)))
NOTARY = SigningKey("n.test", "ed25519:n", bytes(range(2, 34)))
RETIRED = OldKey("ed25519:retired", bytes(32), NOW - 10)


def test_what_is_published_is_read_with_its_validity() -> None:
    document = server_keys.make([FIRST, SECOND], [RETIRED], NOW + DAY_MS)
    assert set(document["signatures"]["a.test"]) == {"ed25519:first", "ed25519:second"}
    read = server_keys.parse(document, NOW, "a.test")
    assert read.keys[FIRST.key_id].public == FIRST.public
    assert read.keys[SECOND.key_id].is_valid_at(NOW + DAY_MS)
    assert not read.keys[SECOND.key_id].is_valid_at(NOW + DAY_MS + 1)
    old = read.keys["ed25519:retired"]
    assert old.is_valid_at(NOW - 10)
    assert not old.is_valid_at(NOW)


def test_no_key_counts_for_longer_than_a_week_however_long_its_server_says() -> None:
    read = server_keys.parse(server_keys.make([FIRST], [], NOW + 900 * DAY_MS), NOW)
    assert read.keys[FIRST.key_id].valid_until_ts == NOW + LONGEST_VALIDITY_MS


def test_a_notary_vouches_by_its_signature_and_the_document_stays_valid() -> None:
    document = NOTARY.sign_json(server_keys.make([FIRST], [], NOW))
    assert server_keys.is_cosigned(document, "n.test", {NOTARY.key_id: NOTARY.public})
    assert not server_keys.is_cosigned(document, "n.test", {NOTARY.key_id: FIRST.public})
    assert not server_keys.is_cosigned(document, "a.test", {NOTARY.key_id: NOTARY.public})
    server_keys.parse(document, NOW, "a.test")


def changed(**fields: Any) -> dict[str, Any]:
    """A document with other fields, signed anew."""
    document = {**server_keys.make([FIRST], [], NOW + DAY_MS), **fields}
    document.pop("signatures")
    return FIRST.sign_json(document)


PUBLIC = unpadded_base64.encode(FIRST.public)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "no JSON object"),
        (changed(server_name="b.test"), "`server_name`"),
        (changed(server_name=5), "`server_name`"),
        (changed(valid_until_ts="soon"), "`valid_until_ts`"),
        (changed(valid_until_ts=True), "`valid_until_ts`"),
        (changed(verify_keys=[]), "`verify_keys`"),
        (changed(verify_keys={}), "no Ed25519 key"),
        (changed(verify_keys={"rsa:1": {"key": "x"}}), "no Ed25519 key"),
        (changed(verify_keys={"ed25519:1": {"key": "short"}}), "32 bytes"),
        (changed(verify_keys={"ed25519:1": 5}), "32 bytes"),
        (changed(verify_keys={f"ed25519:{n}": {"key": PUBLIC} for n in range(101)}), "more than 100"),
        (changed(verify_keys={"ed25519:1": {"key": PUBLIC}}), "not signed by any"),
        (changed(verify_keys={"ed25519:first": {"key": unpadded_base64.encode(bytes(32))}}), "is false"),
        (changed(old_verify_keys={"ed25519:1": {"key": PUBLIC}}), "`expired_ts`"),
        ({**changed(), "valid_until_ts": NOW}, "is false"),
        ({**changed(), "signatures": {}}, "not signed by any"),
        ({**changed(), "signatures": 5}, "not signed by any"),
    ],
)
def test_a_document_that_is_not_its_servers_own_or_not_in_order_is_refused(document: Any, words: str) -> None:
    with pytest.raises(BadServerKeys, match=words):
        server_keys.parse(document, NOW, "a.test")
