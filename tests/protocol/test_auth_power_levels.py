"""Power levels, and the authorisation rule on changing them."""

from typing import Any

import pytest
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, CAROL, Room, rule_of, versions_with

from ranvier.protocol.power_levels import INFINITE_POWER, PowerLevels, creators_of, power_levels_of
from ranvier.protocol.room_versions import ROOM_VERSIONS

every_version = pytest.mark.parametrize("version", ALL_VERSIONS)
# Where each part of the rule stands: integers, users, creators, defaults, events (old, new), users (old, new).
NUMBERS = {
    **dict.fromkeys(["1", "2", "3", "4", "5"], ("10", 0, 1, 0, 3, 4, 5, 6, 7)),
    **dict.fromkeys(["6", "7", "8", "9"], ("9", 0, 1, 0, 3, 4, 5, 6, 7)),
    **dict.fromkeys(["10", "11"], ("9", 1, 3, 0, 5, 6, 7, 8, 9)),
    "12": ("10", 1, 3, 4, 6, 7, 8, 9, 10),
}
PARTS = ["integers", "users", "creators", "defaults", "events_old", "events_new", "users_old", "users_new"]


def numbered(version: str, part: str, rest: str = "") -> str:
    section, *numbers = NUMBERS[version]
    return f"{section}.{numbers[PARTS.index(part)]}{rest}"


def view(room: Room) -> PowerLevels:
    return power_levels_of(room.create, room.state.get(("m.room.power_levels", "")))


def room_of_bob(version: str, level: int = 50, **content: Any) -> Room:
    """Bob, a member of this level, may send power levels."""
    room = Room(version)
    room.member(BOB, "join")
    content["users"] = {BOB: level, **content.get("users", {})}
    content["events"] = {"m.room.power_levels": 0, **content.get("events", {})}
    room.levels(**content)
    return room


def change(room: Room, *, sender: str = BOB, **changes: Any) -> str | None:
    """The rule that forbids these changes of the present power levels; a value of None removes."""
    content = dict(room.state["m.room.power_levels", ""].content)
    for key, value in changes.items():
        before = content.get(key)
        merged = {**before, **value} if isinstance(value, dict) and isinstance(before, dict) else value
        content[key] = (
            {k: v for k, v in merged.items() if v is not None} if isinstance(merged, dict) else merged
        )
        if merged is None:
            del content[key]
    return rule_of(room.check("m.room.power_levels", content, sender=sender, state_key=""))


# --- the view


@every_version
def test_without_a_power_levels_event_defaults_hold(version: str) -> None:
    levels = view(Room(version))
    assert (levels.invite, levels.kick, levels.ban, levels.redact) == (0, 50, 50, 50)
    assert levels.for_event("m.room.name", True) == 50
    assert levels.for_event("m.room.message", False) == 0
    assert levels.notifications("room") == 50
    infinite = ROOM_VERSIONS[version].creators_have_infinite_power
    assert levels.of_user(ALICE) == (INFINITE_POWER if infinite else 100)
    assert levels.of_user(BOB) == 0


@every_version
def test_a_power_levels_event_says_what_each_may(version: str) -> None:
    room = Room(version)
    room.levels(
        users={BOB: 30},
        users_default=5,
        events={"m.room.name": 7},
        events_default=8,
        state_default=9,
        invite=10,
        kick=11,
        ban=12,
        redact=13,
        notifications={"room": 14},
    )
    levels = view(room)
    assert (levels.of_user(BOB), levels.of_user(CAROL)) == (30, 5)
    assert levels.users == {BOB: 30}
    assert levels.for_event("m.room.name", True) == levels.for_event("m.room.name", False) == 7
    assert (levels.for_event("x", False), levels.for_event("x", True)) == (8, 9)
    assert (levels.invite, levels.kick, levels.ban, levels.redact) == (10, 11, 12, 13)
    assert (levels.notifications("room"), levels.notifications("x")) == (14, 50)
    infinite = ROOM_VERSIONS[version].creators_have_infinite_power
    assert levels.of_user(ALICE) == (INFINITE_POWER if infinite else 5)


def test_creators_of_version_12_are_above_every_level() -> None:
    room = Room("12", additional_creators=[BOB, 5])
    room.levels(users_default=2**53 - 1)
    levels = view(room)
    assert creators_of(room.create) == {ALICE, BOB}
    assert levels.of_user(ALICE) == levels.of_user(BOB) > levels.of_user(CAROL) == 2**53 - 1


@pytest.mark.parametrize("version", versions_with(creators_have_infinite_power=False))
def test_additional_creators_mean_nothing_before_version_12(version: str) -> None:
    room = Room(version, additional_creators=[BOB])
    assert creators_of(room.create) == {ALICE}
    assert view(room).of_user(BOB) == 0


@every_version
@pytest.mark.parametrize(
    ("value", "level"),
    [
        ("100", 100),
        (" 00100 ", 100),
        ("+7", 7),
        ("-7", -7),
        ("1_0", None),
        ("٣", None),
        ("5.5", None),
        ("", None),
    ],
)
def test_text_is_a_level_before_version_10(version: str, value: str, level: int | None) -> None:
    room = Room(version)
    room.levels(users={BOB: value}, users_default=3)
    expected = 3 if level is None or ROOM_VERSIONS[version].integer_power_levels else level
    assert view(room).of_user(BOB) == expected


@pytest.mark.parametrize("version", versions_with(strict_json=False))
@pytest.mark.parametrize(("value", "level"), [(50.57, 50), (5.114698e4, 51146), (-1.9, -1)])
def test_floats_are_truncated_before_version_6(version: str, value: float, level: int) -> None:
    room = Room(version)
    room.levels(users={BOB: value}, kick=value)
    assert (view(room).of_user(BOB), view(room).kick) == (level, level)


@every_version
@pytest.mark.parametrize("rubbish", [None, True, [], {}, "x"])
def test_what_is_no_level_counts_as_absent(version: str, rubbish: Any) -> None:
    room = Room(version)
    room.levels(users={BOB: rubbish}, events={"x": rubbish}, ban=rubbish, notifications=rubbish)
    levels = view(room)
    assert (levels.of_user(BOB), levels.for_event("x", True), levels.ban) == (0, 50, 50)
    assert levels.notifications("room") == 50
    room.levels(users=rubbish, events=rubbish)
    assert view(room).of_user(BOB) == 0


def test_a_view_is_made_once_for_its_two_events() -> None:
    room = Room("11")
    assert view(room) is view(room)
    without = view(room)
    room.levels(ban=7)
    assert view(room) is view(room) is not without
    other = Room("11", creator=BOB)
    levels = power_levels_of(other.create, room.state["m.room.power_levels", ""])
    assert levels is not view(room)


# --- form


@every_version
@pytest.mark.parametrize(
    "users", [[], "x", 5, None, {"bob": 5}, {"@bob": 5}, {BOB: "x"}, {BOB: None}, {BOB: True}]
)
def test_users_must_be_levels_by_user_id(version: str, users: Any) -> None:
    room = room_of_bob(version)
    del room.state["m.room.power_levels", ""]
    refused = rule_of(room.check("m.room.power_levels", {"users": users}, state_key=""))
    assert refused == numbered(version, "users")
    assert room.check("m.room.power_levels", {}, state_key="") is None


@every_version
@pytest.mark.parametrize("value", ["50", None, True, [], {}])
@pytest.mark.parametrize(
    "key", ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]
)
def test_levels_must_be_integers_since_version_10(version: str, key: str, value: Any) -> None:
    room = room_of_bob(version)
    refused = change(room, **{key: [value]})  # wrapped, so that None is a value and not a removal
    if ROOM_VERSIONS[version].integer_power_levels:
        assert refused == numbered(version, "integers")
        direct = room.check("m.room.power_levels", {key: value}, sender=BOB, state_key="")
        assert rule_of(direct) == numbered(version, "integers")
    else:
        assert refused == numbered(version, "defaults")


@pytest.mark.parametrize("version", versions_with(integer_power_levels=True))
@pytest.mark.parametrize("value", [None, [], 5, {"x": "5"}, {"x": None}, {"x": True}])
@pytest.mark.parametrize("key", ["events", "notifications"])
def test_event_levels_must_be_integers_since_version_10(version: str, key: str, value: Any) -> None:
    room = Room(version)
    verdict = room.check("m.room.power_levels", {key: value}, state_key="")
    assert rule_of(verdict) == numbered(version, "integers").replace(".1", ".2")


@pytest.mark.parametrize("version", versions_with(integer_power_levels=False))
def test_text_may_be_sent_as_a_level_before_version_10(version: str) -> None:
    room = room_of_bob(version)
    assert change(room, ban="50", users={CAROL: " 10 "}, events={"x": "50"}) is None
    assert change(room, ban="51") == numbered(version, "defaults", ".2")
    assert change(room, users={CAROL: "51"}) == numbered(version, "users_new", ".1")
    assert change(room, events={"x": "many"}) == numbered(version, "events_new")


@pytest.mark.parametrize("version", versions_with(integer_power_levels=False))
@pytest.mark.parametrize(
    ("events", "allowed"), [([], True), (None, False), ("x", False), (5, False), (["x"], False)]
)
def test_of_event_levels_that_are_no_object_only_an_empty_array_passes(
    version: str, events: Any, allowed: bool
) -> None:
    room = room_of_bob(version)
    content = {"users": {BOB: 50}, "events": events}
    verdict = room.check("m.room.power_levels", content, sender=BOB, state_key="")
    assert rule_of(verdict) == (None if allowed else numbered(version, "events_new"))


def test_creators_of_version_12_have_no_entry() -> None:
    room = Room("12", additional_creators=[BOB])
    for user in (ALICE, BOB):
        verdict = room.check("m.room.power_levels", {"users": {user: 100}}, state_key="")
        assert rule_of(verdict) == "10.4"
    assert room.check("m.room.power_levels", {"users": {CAROL: 100}}, state_key="") is None


@every_version
def test_the_first_power_levels_may_say_anything_well_formed(version: str) -> None:
    room = Room(version)
    content = {"users": {BOB: 1000}, "ban": 1000, "events": {"x": 1000}}
    assert room.check("m.room.power_levels", content, state_key="") is None


# --- changes


@every_version
@pytest.mark.parametrize(
    "key", ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]
)
def test_a_level_above_ones_own_is_neither_set_nor_changed_nor_removed(version: str, key: str) -> None:
    room = room_of_bob(version, **{key: 51})
    assert change(room) is None
    assert change(room, **{key: 10}) == numbered(version, "defaults", ".1")
    assert change(room, **{key: None}) == numbered(version, "defaults", ".1")
    room = room_of_bob(version)
    assert change(room, **{key: 51}) == numbered(version, "defaults", ".2")
    assert change(room, **{key: 50}) is None
    room = room_of_bob(version, **{key: 50})
    assert change(room, **{key: 10}) is None


@every_version
def test_levels_of_events_are_bounded_by_ones_own(version: str) -> None:
    room = room_of_bob(version, events={"high": 51, "low": 50})
    assert change(room, events={"high": 10}) == numbered(version, "events_old", ".1")
    assert change(room, events={"high": None}) == numbered(version, "events_old", ".1")
    assert change(room, events={"low": None}) is None
    assert change(room, events={"low": 51}) == numbered(version, "events_new", ".1")
    assert change(room, events={"new": 51}) == numbered(version, "events_new", ".1")
    assert change(room, events={"new": 50, "low": 0}) is None


@every_version
def test_levels_of_notifications_are_bounded_since_version_6(version: str) -> None:
    room = room_of_bob(version, notifications={"room": 51})
    bounded = ROOM_VERSIONS[version].limits_notification_levels
    assert change(room, notifications={"room": 10}) == (
        numbered(version, "events_old", ".1") if bounded else None
    )
    assert change(room, notifications={"new": 51}) == (
        numbered(version, "events_new", ".1") if bounded else None
    )


@every_version
def test_levels_of_users_are_bounded_by_ones_own(version: str) -> None:
    peer, lower = "@peer:one.example", "@lower:one.example"
    room = room_of_bob(version, users={peer: 50, lower: 49})
    assert change(room, users={peer: 10}) == numbered(version, "users_old", ".1")
    assert change(room, users={peer: None}) == numbered(version, "users_old", ".1")
    assert change(room, users={lower: None}) is None
    assert change(room, users={lower: 50}) is None
    assert change(room, users={lower: 51}) == numbered(version, "users_new", ".1")
    assert change(room, users={CAROL: 51}) == numbered(version, "users_new", ".1")


@every_version
def test_one_may_lower_oneself_but_not_raise(version: str) -> None:
    room = room_of_bob(version)
    assert change(room, users={BOB: 10}) is None
    assert change(room, users={BOB: None}) is None
    assert change(room, users={BOB: 51}) == numbered(version, "users_new", ".1")


def test_a_creator_of_version_12_may_change_every_level() -> None:
    room = room_of_bob("12", ban=2**53 - 1, users={CAROL: 2**53 - 1})
    assert change(room, sender=ALICE, ban=0, users={CAROL: None}) is None


@every_version
def test_another_spelling_of_the_same_level_is_no_change(version: str) -> None:
    if ROOM_VERSIONS[version].integer_power_levels:
        room = room_of_bob(version, ban=100)
        assert change(room, ban=100) is None
    else:
        room = room_of_bob(version, ban="100", users={CAROL: "100"})
        assert change(room, ban=100, users={CAROL: 100}) is None
