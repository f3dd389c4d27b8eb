"""Children of spaces in their order, and the walk through the tree."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.json_values import WILD_JSON
from tests.protocol.sent_events import make_event

from ranvier.protocol.space_hierarchy import (
    MAX_CHILDREN,
    MAX_DEPTH,
    MAX_ROOMS,
    Child,
    HierarchyWalk,
    child_of,
    in_order,
    read_child,
)


def stripped(room_id: str, sent_at: int = 1, **content: Any) -> dict[str, Any]:
    return {
        "type": "m.space.child",
        "state_key": room_id,
        "content": {"via": ["example.org"], **content},
        "sender": "@alice:example.org",
        "origin_server_ts": sent_at,
    }


def child(room_id: str, sent_at: int = 1, **content: Any) -> Child:
    found = read_child(stripped(room_id, sent_at, **content))
    assert found is not None
    return found


def test_children_are_ordered_as_in_the_texts_example() -> None:
    children = [
        child("!d:example.org", 1640741000000),
        child("!c:example.org", 1640841000000, order="first"),
        child("!e:example.org", 1640641000000),
        child("!a:example.org", 1640141000000, order="aaaa"),
        child("!b:example.org", 1640341000000, order=" "),
    ]
    assert [one.room_id[1] for one in in_order(children)] == ["b", "a", "c", "e", "d"]


def test_equal_orders_fall_to_the_time_and_then_the_room_id() -> None:
    children = [
        child("!b", 2, order="x"),
        child("!c", 1, order="x"),
        child("!a", 2, order="x"),
        child("!d", 0),
    ]
    assert [one.room_id[1] for one in in_order(children)] == ["c", "a", "b", "d"]


@pytest.mark.parametrize("order", [None, 5, "", "x" * 51, "é", "a\n", "\x7f", ["a"]])
def test_an_invalid_order_is_none(order: Any) -> None:
    assert child("!a", order=order).order is None
    assert child("!a", order="~" * 50).order == "~" * 50


@pytest.mark.parametrize("via", [None, "example.org", {}, [5], ["example.org", None], []])
def test_without_valid_servers_it_is_no_child(via: Any) -> None:
    assert read_child(stripped("!a", via=via)) is None
    assert child_of(make_event("m.space.child", {"via": via}, state_key="!a")) is None
    assert child_of(make_event("m.space.child", {}, state_key="!a")) is None


def test_only_state_of_the_right_type_names_a_room() -> None:
    content = {"via": ["example.org"], "suggested": True}
    found = child_of(make_event("m.space.child", content, state_key="!a:b", origin_server_ts=7))
    assert found is not None
    assert (found.room_id, found.via, found.suggested) == ("!a:b", ("example.org",), True)
    assert found.stripped.keys() == {"type", "state_key", "content", "sender", "origin_server_ts"}
    assert child_of(make_event("m.space.child", content, state_key="#a:b")) is None
    assert child_of(make_event("m.space.child", content)) is None
    assert child_of(make_event("m.space.parent", content, state_key="!a:b")) is None


def test_only_what_is_true_is_suggested() -> None:
    children = [child("!a", suggested=True), child("!b", suggested="true"), child("!c")]
    assert [one.room_id for one in in_order(children, suggested_only=True)] == ["!a"]


def walk(
    tree: Mapping[str, Sequence[str]], root: str = "!0", **limits: Any
) -> tuple[list[str], dict[str, list[str]]]:
    hierarchy = HierarchyWalk(root, **limits)
    met: list[str] = []
    told = {}
    while (need := hierarchy.wanted()) is not None:
        assert hierarchy.wanted() is need
        met.append(need.room_id)
        children = [child(room_id, position) for position, room_id in enumerate(tree.get(need.room_id, ()))]
        told[need.room_id] = [one.room_id for one in hierarchy.tell(children)]
    return met, told


def test_the_walk_goes_depth_first_in_order() -> None:
    tree = {"!0": ["!1", "!2", "!3"], "!1": ["!11", "!12"], "!12": ["!121"], "!3": ["!31"]}
    met, told = walk(tree)
    assert met == ["!0", "!1", "!11", "!12", "!121", "!2", "!3", "!31"]
    assert told["!0"] == ["!1", "!2", "!3"]
    assert told["!2"] == []


def test_it_stops_at_the_depth_that_was_asked_for_but_tells_the_children_there() -> None:
    tree = {"!0": ["!1"], "!1": ["!2"], "!2": ["!3"]}
    assert walk(tree, max_depth=0) == (["!0"], {"!0": ["!1"]})
    assert walk(tree, max_depth=2)[0] == ["!0", "!1", "!2"]


def test_loops_end() -> None:
    assert walk({"!0": ["!0", "!1"], "!1": ["!0", "!1", "!2"], "!2": ["!1"]})[0] == ["!0", "!1", "!2"]


def test_who_asks_for_suggested_rooms_gets_no_others() -> None:
    hierarchy = HierarchyWalk("!0", suggested_only=True)
    assert hierarchy.wanted() is not None
    told = hierarchy.tell([child("!1"), child("!2", suggested=True)])
    assert [one.room_id for one in told] == ["!2"]
    need = hierarchy.wanted()
    assert need is not None
    assert (need.room_id, need.via, need.depth) == ("!2", ("example.org",), 1)


def test_depth_breadth_and_number_are_bounded() -> None:
    chain = {f"!{number}": [f"!{number + 1}"] for number in range(2 * MAX_DEPTH)}
    assert len(walk(chain)[0]) == len(walk(chain, max_depth=10**9)[0]) == MAX_DEPTH + 1
    assert len(walk({"!0": [f"!{number}" for number in range(1, 2 * MAX_CHILDREN)]})[0]) == MAX_CHILDREN + 1
    wide = {f"!{number}": [f"!{number}.{inner}" for inner in range(900)] for number in range(100)}
    wide["!0"] = list(wide)
    assert len(walk(wide)[0]) == MAX_ROOMS


@given(WILD_JSON | st.builds(lambda part, key: {**stripped("!a"), key: part}, WILD_JSON, st.sampled_from(
    ["type", "state_key", "content", "sender", "origin_server_ts"])))  # fmt: skip
def test_no_answer_of_a_peer_raises(value: Any) -> None:
    found = read_child(value)
    assert found is None or found.room_id.startswith("!")
