"""Canonical JSON: the specification's examples, and its equality to the reference encoder."""

import json
from typing import Any

import canonicaljson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.json_values import LAX_JSON, STRICT_JSON, WILD_JSON

from ranvier.protocol.canonical_json import (
    MAX_INTEGER,
    MAX_NESTING,
    BadJson,
    NotJson,
    check,
    decode,
    encode,
    encode_checked,
)


@pytest.mark.parametrize(
    ("given_json", "canonical"),
    [
        ("{}", "{}"),
        ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
        ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
        (
            '{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe",'
            '"three_pids": [{"medium": "email", "address": "john.doe@example.org"},'
            '{"medium": "msisdn", "address": "123456789"}]}}}',
            '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
            '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
            '"success":true}}',
        ),
        ('{"a": "日本語"}', '{"a":"日本語"}'),
        ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
        (r'{"a": "\u65E5"}', '{"a":"日"}'),
        ('{"a": null}', '{"a":null}'),
        ('{"a": -0}', '{"a":0}'),
    ],
)
def test_the_examples_of_the_specification_come_out_as_printed(given_json: str, canonical: str) -> None:
    assert encode(decode(given_json.encode())).decode() == canonical


@given(STRICT_JSON)
def test_strict_json_survives_a_round_trip_and_equals_the_reference_encoder(value: Any) -> None:
    check(value, strict=True)
    data = encode(value)
    assert data == encode_checked(value) == canonicaljson.encode_canonical_json(value)
    assert decode(data) == value
    assert encode(decode(data)) == data


@given(LAX_JSON)
def test_floats_and_great_integers_of_old_rooms_equal_the_reference_encoder(value: Any) -> None:
    check(value, strict=False)
    assert encode(value) == canonicaljson.encode_canonical_json(value)


@given(WILD_JSON)
def test_what_passes_the_check_can_be_written_and_what_fails_it_says_so(value: Any) -> None:
    for strict in (True, False):
        try:
            check(value, strict=strict)
        except BadJson:
            continue
        assert encode(value) == canonicaljson.encode_canonical_json(value)


@given(st.binary(max_size=60) | WILD_JSON.map(lambda value: json.dumps(value).encode()))
def test_decoding_raises_nothing_but_its_own_error(data: bytes) -> None:
    try:
        value = decode(data)
    except BadJson:
        return
    assert value == json.loads(data)


@pytest.mark.parametrize("number", [MAX_INTEGER + 1, -MAX_INTEGER - 1, 2**63, 1.0, 1.5, 1e300])
def test_numbers_that_strict_rooms_refuse_are_fine_in_old_ones(number: float) -> None:
    check({"n": number}, strict=False)
    with pytest.raises(BadJson):
        check({"n": number}, strict=True)


@pytest.mark.parametrize(
    "value", [2**64, -(2**63) - 1, float("nan"), float("inf"), b"bytes", {1: 2}, {"a": {None: 1}}]
)
def test_what_no_room_can_hold_is_refused(value: Any) -> None:
    with pytest.raises(BadJson):
        check({"v": value}, strict=False)


def test_the_place_of_a_fault_is_named() -> None:
    with pytest.raises(BadJson) as caught:
        check({"a": [1, {"b": 1.5}]}, strict=True)
    assert caught.value.path == ("a", 1, "b")
    assert "a.1.b" in str(caught.value)


@pytest.mark.parametrize("value", ["\ud800", ["\udfff"], {"\ud800": 1}, {"a": "x\ud800y"}])
def test_lone_surrogates_are_refused_by_check_and_by_encode(value: Any) -> None:
    with pytest.raises(BadJson):
        check(value, strict=False)
    with pytest.raises(BadJson):
        encode(value)


def test_nan_is_never_written_as_null() -> None:
    with pytest.raises(BadJson):
        encode({"a": None, "b": float("nan")})


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_nesting_is_bounded_when_checked_and_when_read() -> None:
    check(nested(MAX_NESTING), strict=True)
    assert decode(b"[" * MAX_NESTING + b"]" * MAX_NESTING) == nested(MAX_NESTING)
    with pytest.raises(BadJson):
        check(nested(MAX_NESTING + 1), strict=True)
    for depth in (MAX_NESTING + 1, 300, 5000):
        with pytest.raises(BadJson):
            decode(b"[" * depth + b"]" * depth)
        with pytest.raises(BadJson):
            decode(b'{"a":' * depth + b"1" + b"}" * depth)


def test_many_containers_beside_each_other_are_not_deep() -> None:
    assert decode(b"[" + b"[]," * 1000 + b"[]]") == [[]] * 1001


@pytest.mark.parametrize(
    "data", [b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', rb'{"a\u003a":1,"a\u003A":2}', b'[{"":1,"":2}]']
)
def test_a_repeated_key_is_refused(data: bytes) -> None:
    with pytest.raises(BadJson, match="twice"):
        decode(data)


@pytest.mark.parametrize(
    "data", [b'{"a:":":","b":"a:b"}', rb'{"\u003a":"\u003a"}', rb'["\u003a", {"a":"\u0041"}]']
)
def test_colons_in_text_are_not_taken_for_keys(data: bytes) -> None:
    assert decode(data) == json.loads(data)


@pytest.mark.parametrize(
    "digits", ["18446744073709551616", "-9223372036854775809", "1" * 5000, "-" + "9" * 40]
)
def test_integers_beyond_64_bits_are_refused_unless_loss_is_accepted(digits: str) -> None:
    data = f'{{"n":{digits}}}'.encode()
    with pytest.raises(BadJson):
        decode(data)
    try:
        value = decode(data, lossy_integers=True)
    except NotJson:
        assert len(digits) > 308
    else:
        assert isinstance(value["n"], float)


def test_integers_of_64_bits_are_exact() -> None:
    assert decode(b"[18446744073709551615,-9223372036854775808]") == [2**64 - 1, -(2**63)]


@pytest.mark.parametrize(
    "data", [b"", b"NaN", b"[Infinity]", b"{} {}", b"\xff", b'"\xed\xa0\x80"', b"{'a':1}", b"[1,]"]
)
def test_what_is_not_json_is_told_apart(data: bytes) -> None:
    with pytest.raises(NotJson) as caught:
        decode(data)
    assert caught.value.errcode == "M_NOT_JSON"
