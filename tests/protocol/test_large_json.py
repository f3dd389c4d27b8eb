"""JSON that is decoded in pieces is what it is in one."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.json_values import WILD_JSON

from ranvier.protocol import large_json
from ranvier.protocol.canonical_json import BadJson, decode
from ranvier.protocol.large_json import decode_large

OBJECTS = st.dictionaries(
    st.text(max_size=3), st.one_of(WILD_JSON, st.lists(WILD_JSON, max_size=2)), max_size=2
)


def outcome(read: Any, data: bytes) -> Any:
    """What is read, or that it can't be."""
    try:
        return repr(read(data, lossy_integers=True))
    except BadJson:
        return BadJson


@given(OBJECTS, st.sampled_from([None, 1, "\t"]), st.integers(1, 40))
def test_it_is_decoded_to_the_same_wherever_it_is_cut(value: Any, indent: Any, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "_WINDOW", window)
        data = json.dumps(value, indent=indent, ensure_ascii=window % 2 == 0).encode(errors="surrogatepass")
        assert outcome(decode_large, data) == outcome(decode, data)


@given(OBJECTS, st.integers(), st.integers(1, 40))
def test_what_one_reading_refuses_the_other_does_too(value: Any, seed: int, window: int) -> None:
    data = bytearray(json.dumps(value).encode(errors="surrogatepass"))
    chance = random.Random(seed)
    for _ in range(2):
        place = chance.randrange(len(data) + 1)
        data[place : place + chance.randrange(2)] = chance.choice(
            [b"", b",", b"}", b"]", b'"', b"1", b" ", b"\xff", b":"]
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "_WINDOW", window)
        assert outcome(decode_large, bytes(data)) == outcome(decode, bytes(data))


_DEEP = '{"b":'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "null", "{}", "{} {}", '{"a" 1}', "{1:2}", '{"a":1,}', '{"a":[1,]}', '{"a":[1 2]}'),
        *('{"a":1,"a":2}', '{"\\u0061":1,"a":2}', '{"a":[{"b":1,"b":2}]}', '{"a":NaN}'),
        '{"a":123456789012345678901234}',
        '{"a":"' + "x" * 700_000 + '"}',
        '{"a":' + "[" * 100_000,
        '{"a":' + "[" * 500 + "]" * 500 + "}",
        '{"a":[' + _DEEP * 199 + "1" + "}" * 199 + "]}",
        '{"a":[' + _DEEP * 198 + "1" + "}" * 198 + "]}",
    ],
)
def test_cases_that_are_easily_taken_wrong(text: str) -> None:
    assert outcome(decode_large, text.encode()) == outcome(decode, text.encode())


def test_integers_beyond_64_bits_are_refused_unless_they_may_be_lossy() -> None:
    data = b'{"pdus":[{"depth":123456789012345678901234}]}'
    assert decode_large(data, lossy_integers=True) == {"pdus": [{"depth": 123456789012345678901234.0}]}
    with pytest.raises(BadJson):
        decode_large(data)
