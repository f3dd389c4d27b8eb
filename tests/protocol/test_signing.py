"""Hashes and signatures, by the specification's test vectors and by properties."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.json_values import STRICT_OBJECTS
from tests.protocol.room_script import KEY

from ranvier.protocol import signing, unpadded_base64
from ranvier.protocol.redaction import redact
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.signing import BadKey, SigningKey

SPEC_KEY = SigningKey(
    "domain", "ed25519:1", unpadded_base64.decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
)


def hash_and_sign(pdu: dict[str, Any]) -> dict[str, Any]:
    """As "Adding hashes and signatures to outgoing events" says, for events that lack what we always send."""
    hashed = {**pdu, "hashes": {"sha256": unpadded_base64.encode(signing.content_hash(pdu))}}
    signatures = SPEC_KEY.sign_json(redact(hashed, ROOM_VERSIONS["1"]))["signatures"]
    return {**hashed, "signatures": signatures}


@pytest.mark.parametrize(
    ("value", "signature"),
    [
        ({}, "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_json_is_signed_as_in_the_specification(value: dict[str, Any], signature: str) -> None:
    signed = SPEC_KEY.sign_json(value)
    assert signed == {**value, "signatures": {"domain": {"ed25519:1": signature}}}
    assert signing.verify_json(signed, "domain", {"ed25519:1": SPEC_KEY.public})


def test_a_minimal_event_is_hashed_and_signed_as_in_the_specification() -> None:
    signed = hash_and_sign(
        {
            "room_id": "!x:domain",
            "sender": "@a:domain",
            "origin": "domain",
            "origin_server_ts": 1000000,
            "signatures": {},
            "hashes": {},
            "type": "X",
            "content": {},
            "prev_events": [],
            "auth_events": [],
            "depth": 3,
            "unsigned": {"age_ts": 1000000},
        }
    )
    assert signed["hashes"] == {"sha256": "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"}
    assert signed["signatures"]["domain"]["ed25519:1"] == (
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
    )


def test_an_event_with_redactable_content_is_hashed_and_signed_as_in_the_specification() -> None:
    signed = hash_and_sign(
        {
            "content": {"body": "Here is the message content"},
            "event_id": "$0:domain",
            "origin": "domain",
            "origin_server_ts": 1000000,
            "type": "m.room.message",
            "room_id": "!r:domain",
            "sender": "@u:domain",
            "signatures": {},
            "unsigned": {"age_ts": 1000000},
        }
    )
    assert signed["hashes"] == {"sha256": "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"}
    assert signed["signatures"]["domain"]["ed25519:1"] == (
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
    )
    assert signing.content_hash_matches(signed)
    assert signing.verify_event(signed, ROOM_VERSIONS["1"], "domain", {"ed25519:1": SPEC_KEY.public})


@given(STRICT_OBJECTS)
def test_what_is_signed_verifies_and_the_original_is_untouched(value: dict[str, Any]) -> None:
    value.pop("signatures", None)
    before = copy.deepcopy(value)
    signed = KEY.sign_json(value)
    keys = {KEY.key_id: KEY.public}
    assert value == before
    assert signing.verify_json(signed, KEY.server_name, keys)
    assert signing.verify_json({**signed, "unsigned": {"age": 1}}, KEY.server_name, keys)
    assert not signing.verify_json({**signed, "another": 1}, KEY.server_name, keys)
    assert not signing.verify_json(signed, "two.example", keys)
    assert not signing.verify_json(signed, KEY.server_name, {KEY.key_id: SPEC_KEY.public})
    assert not signing.verify_json(signed, KEY.server_name, {})


def test_a_second_signature_stands_beside_the_first() -> None:
    signed = SPEC_KEY.sign_json(KEY.sign_json({"a": 1}))
    assert signing.verify_json(signed, KEY.server_name, {KEY.key_id: KEY.public})
    assert signing.verify_json(signed, "domain", {"ed25519:1": SPEC_KEY.public})


def test_one_false_signature_by_a_known_key_is_enough_to_fail() -> None:
    signed = KEY.sign_json({"a": 1})
    signed["signatures"][KEY.server_name]["ed25519:other"] = "A" * 86
    known = {KEY.key_id: KEY.public}
    assert signing.verify_json(signed, KEY.server_name, known)
    assert not signing.verify_json(signed, KEY.server_name, {**known, "ed25519:other": SPEC_KEY.public})


@pytest.mark.parametrize(
    "signatures",
    [
        None, [], "x", {"s": None}, {"s": []}, {"s": {"ed25519:1": 5}}, {"s": {"ed25519:1": "!"}},
        {"s": {"ed25519:1": "é"}}, {"s": {"ed25519:1": "QUJD"}}, {"s": {"rsa:1": "A" * 86}},
    ],
)  # fmt: skip
def test_malformed_signatures_fail_without_an_error(signatures: Any) -> None:
    assert not signing.verify_json({"signatures": signatures}, "s", {"ed25519:1": KEY.public})


def test_a_public_key_of_a_wrong_length_verifies_nothing() -> None:
    assert not signing.verify(b"short", b"", KEY.sign(b""))
    assert signing.verify(KEY.public, b"", KEY.sign(b""))


def test_a_signature_has_one_form() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = unpadded_base64.decode(KEY.sign(b"text"))
    assert signing.verify(KEY.public, b"text", unpadded_base64.encode(signature))
    other = int.from_bytes(signature[32:], "little") + order
    changed = signature[:32] + other.to_bytes(32, "little")
    assert not signing.verify(KEY.public, b"text", unpadded_base64.encode(changed))


@pytest.mark.parametrize("point", ["01" + "00" * 31, "ec" + "ff" * 30 + "7f", "00" * 32, "00" * 31 + "80",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "01" + "00" * 30 + "80", "ed" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f"])  # fmt: skip
def test_a_key_of_small_order_or_not_in_its_one_form_signs_nothing(point: str) -> None:
    key = bytes.fromhex(point)
    # Where such keys count, these sign any text, or one of eight.
    for commitment in (key, b"\x01" + bytes(31)):
        for text in range(16):
            signature = unpadded_base64.encode(commitment + bytes(32))
            assert not signing.verify(key, bytes([text]), signature)


def test_a_changed_event_no_longer_matches_its_hash() -> None:
    pdu = {"content": {"body": "a"}, "type": "m.room.message"}
    pdu["hashes"] = {"sha256": unpadded_base64.encode(signing.content_hash(pdu))}
    assert signing.content_hash_matches(pdu)
    assert signing.content_hash_matches({**pdu, "unsigned": {}, "signatures": {"a": {}}})
    assert not signing.content_hash_matches({**pdu, "content": {"body": "b"}})
    for hashes in (None, {}, {"sha256": 1}, {"sha256": "é"}, {"sha256": "QUJD"}):
        assert not signing.content_hash_matches({**pdu, "hashes": hashes})


def test_key_files_are_read_and_written_in_the_form_of_synapse() -> None:
    seed = unpadded_base64.encode(bytes(range(32)))
    text = f"ed25519 a_AbCd {seed}\n\ned25519 2 {seed}\n"
    first, second = signing.parse_key_file(text, "example.org")
    assert (first.server_name, first.key_id, second.key_id) == ("example.org", "ed25519:a_AbCd", "ed25519:2")
    assert signing.format_key_file([first, second]) == text.replace("\n\n", "\n")


@pytest.mark.parametrize(
    "text",
    ["", "\n", "ed25519 a", "rsa a AAAA", "ed25519 a-b " + "A" * 43, "ed25519 a !!!!", "ed25519 a QUJD"],
)
def test_a_bad_key_file_is_refused_without_showing_the_key(text: str) -> None:
    with pytest.raises(BadKey) as caught:
        signing.parse_key_file(text, "example.org")
    for word in text.split()[2:]:
        assert word not in str(caught.value)


def test_a_key_does_not_show_its_secret() -> None:
    assert unpadded_base64.encode(b"one seed of thirty-two bytes....") not in repr(KEY)
    assert "seed" not in repr(KEY)


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ],
)  # fmt: skip
def test_unpadded_base64_is_as_in_the_specification(plain: str, encoded: str) -> None:
    assert unpadded_base64.encode(plain.encode()) == encoded
    assert unpadded_base64.decode(encoded) == plain.encode()
    assert unpadded_base64.decode(encoded + "=" * (-len(encoded) % 4)) == plain.encode()


@given(st.binary(max_size=80))
def test_both_alphabets_of_base64_differ_in_two_characters_only(data: bytes) -> None:
    text = unpadded_base64.encode(data)
    assert unpadded_base64.decode(text) == data
    url_safe = unpadded_base64.encode_url_safe(data)
    assert url_safe == text.replace("+", "-").replace("/", "_")
    assert unpadded_base64.decode(url_safe) == data


@pytest.mark.parametrize("text", ["A", "!!!!", "é", "QU JD", "=Zg"])
def test_other_text_is_not_base64(text: str) -> None:
    with pytest.raises(ValueError, match="Base64"):
        unpadded_base64.decode(text)


def test_signatures_and_hashes_are_read_as_leniently_as_elsewhere() -> None:
    signature = KEY.sign(b"message")
    for spelling in (signature + "==", signature[:9] + "!!!!" + signature[9:], signature.replace("+", "-")):
        assert signing.verify(KEY.public, b"message", spelling)
    for spelling in ("A", "\u00e9", signature[1:], ""):
        assert not signing.verify(KEY.public, b"message", spelling)
    pdu = {"type": "x"}
    right = unpadded_base64.encode(signing.content_hash(pdu))
    assert signing.content_hash_matches({**pdu, "hashes": {"sha256": right[:3] + "    " + right[3:]}})
    assert not signing.content_hash_matches({**pdu, "hashes": {"sha256": right[1:]}})
