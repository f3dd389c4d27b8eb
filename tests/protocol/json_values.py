"""Arbitrary JSON for properties."""

from typing import Any

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
STRICT_INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def json_of(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """JSON with these leaves beside text, booleans and null."""
    return st.recursive(
        st.none() | st.booleans() | TEXT | leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=20,
    )


STRICT_JSON = json_of(STRICT_INTEGERS)
LAX_JSON = json_of(st.integers(-(2**63), 2**64 - 1) | FLOATS)
STRICT_OBJECTS = st.dictionaries(TEXT, STRICT_JSON, max_size=6)

# What hostile or broken peers send where an event should be: right keys, any values.
EVENT_KEYS = st.sampled_from(
    [
        "auth_events", "content", "depth", "event_id", "hashes", "origin_server_ts", "prev_events", "redacts",
        "room_id", "sender", "signatures", "state_key", "type", "unsigned",
    ]
)  # fmt: skip
WILD_TEXT = st.sampled_from(
    [
        "",
        "@a:b",
        "@",
        "!r:b",
        "$e:b",
        "$e",
        "m.room.member",
        "m.room.create",
        "join",
        "x" * 300,
        "é" * 200,
        "\ud800",
    ]
)
WILD_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WILD_TEXT | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(EVENT_KEYS | WILD_TEXT, inner, max_size=5),
    max_leaves=15,
)
WILD_OBJECTS = st.dictionaries(EVENT_KEYS, WILD_JSON, max_size=14)
