"""The authorisation rules outside memberships and power levels, the choice of auth events, and robustness."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.json_values import STRICT_JSON, STRICT_OBJECTS
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, CAROL, Room, build, rule_of, versions_with

from ranvier.protocol import auth_rules
from ranvier.protocol.events import BadEvent
from ranvier.protocol.room_versions import ROOM_VERSIONS

every_version = pytest.mark.parametrize("version", ALL_VERSIONS)


def shifted(version: str, number: int) -> str:
    """The number of a top-level rule after the fourth: versions 6 to 11 have one rule less before it."""
    return str(number - 1 if version in {"6", "7", "8", "9", "10", "11"} else number)


# --- 1: create events


def create(version: str, **fields: Any) -> str | None:
    room_version = ROOM_VERSIONS[version]
    content = fields.pop("content", {"creator": ALICE, "room_version": version})
    event = build(
        room_version,
        **{"type": "m.room.create", "state_key": "", "prev_events": [], "content": content, **fields},
    )
    return rule_of(auth_rules.check(event, {}))


@every_version
def test_a_well_formed_create_event_is_allowed(version: str) -> None:
    assert create(version) is None
    assert create(version, content={"creator": ALICE}) is None


@every_version
def test_a_create_event_comes_first(version: str) -> None:
    assert create(version, prev_events=["$a:b"]) == "1.1"


@every_version
def test_a_room_id_is_of_the_creators_server_or_there_is_none(version: str) -> None:
    if ROOM_VERSIONS[version].room_id_is_create_event_id:
        assert create(version, sender=CAROL) is None
        event = build(ROOM_VERSIONS[version], type="m.room.create", state_key="", prev_events=[])
        event.pdu["room_id"] = event.room_id
        assert rule_of(auth_rules.check(event, {})) == "1.2"
    else:
        assert create(version, sender=CAROL) == "1.2"


@every_version
@pytest.mark.parametrize("room_version", ["13", "x", "", 1, None, ["1"]])
def test_a_room_version_must_be_known(version: str, room_version: Any) -> None:
    assert create(version, content={"creator": ALICE, "room_version": room_version}) == "1.3"


@every_version
def test_a_create_event_names_its_creator_before_version_11(version: str) -> None:
    named = ROOM_VERSIONS[version].create_names_creator
    assert create(version, content={"room_version": version}) == ("1.4" if named else None)


@every_version
@pytest.mark.parametrize(
    "creators", [None, BOB, [5], ["bob"], ["@bob"], ["@b:exa mple"], ["@b:" + "x" * 255], {}]
)
def test_additional_creators_must_be_user_ids_in_version_12(version: str, creators: Any) -> None:
    content = {"creator": ALICE, "additional_creators": creators}
    expected = "1.4" if ROOM_VERSIONS[version].creators_have_infinite_power else None
    assert create(version, content=content) == expected
    assert create(version, content={"creator": ALICE, "additional_creators": [BOB, CAROL]}) is None


# --- 2 to 4: the room


@every_version
def test_without_a_create_event_nothing_is_allowed(version: str) -> None:
    room = Room(version)
    verdict = auth_rules.check(room.event("m.room.message"), {})
    assert rule_of(verdict) == ("2" if version == "12" else "2.4")


def test_the_room_of_version_12_is_that_of_its_create_event() -> None:
    room, other = Room("12"), Room("12", n=1)
    assert rule_of(auth_rules.check(other.event("m.room.message"), room.state)) == "2"
    assert room.check("m.room.message") is None


@every_version
@pytest.mark.parametrize(
    ("federate", "allowed"), [(False, False), (True, True), (None, True), ("false", True)]
)
def test_a_room_may_be_closed_to_other_servers(version: str, federate: Any, allowed: bool) -> None:
    room = Room(version, **{"m.federate": federate})
    room.join_rule("public")
    refused = "4" if version == "12" else "3"
    assert rule_of(room.membership("join", CAROL)) == (None if allowed else refused)
    assert room.membership("join", BOB) is None


@every_version
def test_aliases_have_a_rule_of_their_own_before_version_6(version: str) -> None:
    room = Room(version)
    outsider = {"sender": BOB, "state_key": "one.example"}
    if ROOM_VERSIONS[version].aliases_rule:
        assert room.check("m.room.aliases", **outsider) is None
        assert rule_of(room.check("m.room.aliases", sender=BOB, state_key="two.example")) == "4.2"
        assert rule_of(room.check("m.room.aliases", sender=BOB)) == "4.1"
    else:
        assert rule_of(room.check("m.room.aliases", **outsider)) == shifted(version, 6)


# --- 6 to 9: the sender


@every_version
@pytest.mark.parametrize("membership", [None, "leave", "invite", "knock", "ban"])
def test_only_members_send(version: str, membership: str | None) -> None:
    room = Room(version)
    if membership is not None:
        room.member(BOB, membership)
    assert rule_of(room.check("m.room.message", sender=BOB)) == shifted(version, 6)


@every_version
def test_members_send_what_their_level_allows(version: str) -> None:
    room = Room(version)
    room.member(BOB, "join")
    room.levels(users={BOB: 10}, events={"eleven": 11, "ten": 10}, state_default=11, events_default=10)
    assert room.check("m.room.message", sender=BOB) is None
    assert room.check("ten", sender=BOB, state_key="") is None
    assert rule_of(room.check("eleven", sender=BOB)) == shifted(version, 8)
    assert rule_of(room.check("m.room.name", sender=BOB, state_key="")) == shifted(version, 8)


@every_version
def test_a_state_key_that_is_a_user_belongs_to_that_user(version: str) -> None:
    room = Room(version)
    assert room.check("x", state_key=ALICE) is None
    assert room.check("x", state_key="alice") is None
    assert rule_of(room.check("x", state_key=BOB)) == shifted(version, 9)
    assert rule_of(room.check("x", state_key="@")) == shifted(version, 9)


@pytest.mark.parametrize("version", ["org.matrix.msc3757.10", "org.matrix.msc3757.11"])
def test_owned_state_is_its_owners_and_that_of_those_with_more_power(version: str) -> None:
    """MSC3757: the owner's ID stands alone, or before an underscore."""
    room = Room(version)
    room.member(BOB, "join")
    room.member(CAROL, "join")
    room.levels(users={ALICE: 100, CAROL: 50}, events={"x": 0})

    def is_allowed(sender: str, state_key: str) -> bool:
        failure = room.check("x", sender=sender, state_key=state_key)
        assert rule_of(failure) in (None, str(room.version.rules.state_key))
        return failure is None

    bobs = [BOB, f"{BOB}_", f"{BOB}_a:b@c_d"]
    assert all(is_allowed(sender, key) for sender in (ALICE, BOB, CAROL) for key in bobs)
    assert is_allowed(ALICE, f"{CAROL}_1") and not is_allowed(BOB, f"{CAROL}_1")
    # Equal power is not more.
    room.levels(users={ALICE: 100}, events={"x": 0})
    assert not is_allowed(BOB, CAROL) and not is_allowed(CAROL, f"{BOB}_1")
    assert is_allowed(ALICE, "@nobody:one.example_1")
    for malformed in ("@", "@alice", "@alice_1", f"{BOB}@x_1", f"@x_{BOB}:_"):
        assert not is_allowed(ALICE, malformed), malformed
    assert not is_allowed(BOB, f"{BOB}x_1") and not is_allowed(BOB, f"@x_{BOB}_1")


@every_version
def test_third_party_invites_take_the_invite_level_only(version: str) -> None:
    room = Room(version)
    room.member(BOB, "join")
    room.levels(users={BOB: 10}, invite=10, state_default=100)
    assert room.check("m.room.third_party_invite", sender=BOB, state_key="token") is None
    room.levels(users={BOB: 10}, invite=11)
    refused = room.check("m.room.third_party_invite", sender=BOB, state_key="token")
    assert rule_of(refused) == shifted(version, 7) + ".1"


# --- 11: redactions of old


@every_version
def test_redactions_of_others_events_are_rejected_in_versions_1_and_2_only(version: str) -> None:
    room = Room(version)
    room.member(BOB, "join")

    def redaction(target: str, sender: str = BOB) -> str | None:
        return rule_of(room.check("m.room.redaction", sender=sender, redacts=target))

    expected = "11.3" if version in versions_with(redaction_rule=True) else None
    assert redaction("$event:two.example") == expected
    assert redaction("$event") == expected
    assert redaction("$event:one.example") is None
    assert redaction("$event:two.example", sender=ALICE) is None
    room.levels(users={BOB: 30}, redact=30)
    assert redaction("$event:two.example") is None
    room.levels(users={BOB: 30}, redact=31)
    assert redaction("$event:two.example") == expected


# --- auth events


@every_version
def test_a_message_is_authorised_by_its_room_its_levels_and_its_sender(version: str) -> None:
    types = auth_rules.auth_types(ROOM_VERSIONS[version], "m.room.message", ALICE, None, {})
    expected = {("m.room.power_levels", ""), ("m.room.member", ALICE)}
    if version != "12":
        expected.add(("m.room.create", ""))
    assert set(types) == expected
    assert len(types) == len(expected)
    assert auth_rules.auth_types(ROOM_VERSIONS[version], "m.room.create", ALICE, "", {}) == []


@every_version
@pytest.mark.parametrize("membership", ["join", "invite", "knock", "leave", "ban", "x", None, []])
def test_a_membership_is_authorised_by_its_target_and_the_join_rules(version: str, membership: Any) -> None:
    content = {
        "membership": membership,
        "third_party_invite": {"signed": {"token": "token"}},
        "join_authorised_via_users_server": CAROL,
    }
    types = auth_rules.auth_types(ROOM_VERSIONS[version], "m.room.member", ALICE, BOB, content)
    assert len(types) == len(set(types))
    assert ("m.room.member", BOB) in types
    assert (("m.room.join_rules", "") in types) is (membership in ("join", "invite", "knock"))
    assert (("m.room.third_party_invite", "token") in types) is (membership == "invite")
    restricted = membership == "join" and ROOM_VERSIONS[version].restricted_joins
    assert (("m.room.member", CAROL) in types) is restricted


def with_auth_events(room: Room, *keys: tuple[str, str]) -> tuple[Any, dict[str, Any]]:
    chosen = [room.state[key] for key in keys]
    event = room.event("m.room.name", state_key="", auth_events=[event.event_id for event in chosen])
    return event, {event.event_id: event for event in chosen}


@every_version
def test_auth_events_must_be_those_that_are_selected(version: str) -> None:
    room = Room(version)
    room.levels()
    room.join_rule("public")
    room.member(BOB, "join")
    section = "3" if version == "12" else "2"
    member, levels, create_key = ("m.room.member", ALICE), ("m.room.power_levels", ""), ("m.room.create", "")
    required = [] if version == "12" else [create_key]

    def verdict(*keys: tuple[str, str], rejected: frozenset[str] = frozenset()) -> str | None:
        event, known = with_auth_events(room, *keys)
        return rule_of(auth_rules.check_auth_events(event, known, rejected))

    assert verdict(*required, member, levels) is None
    assert verdict(*required) is None
    assert verdict(*required, member, member) == f"{section}.1"
    assert verdict(*required, ("m.room.join_rules", "")) == f"{section}.2"
    assert verdict(*required, ("m.room.member", BOB)) == f"{section}.2"
    assert verdict(*required, member, rejected=frozenset({room.state[member].event_id})) == f"{section}.3"
    if version == "12":
        assert verdict(member, create_key) == "3.2"
        assert verdict(member) is None
    else:
        assert verdict(member) == "2.4"
        assert verdict() == "2.4"


@every_version
def test_auth_events_must_be_known_state_of_the_same_room(version: str) -> None:
    room = Room(version)
    section = "3" if version == "12" else "2"
    event, known = with_auth_events(room, ("m.room.member", ALICE))
    assert rule_of(auth_rules.check_auth_events(event, {})) == section
    elsewhere = copy.copy(room.state["m.room.member", ALICE])
    elsewhere.room_id = "!elsewhere:one.example"
    assert rule_of(auth_rules.check_auth_events(event, {elsewhere.event_id: elsewhere})) == f"{section}.5"
    message = room.event("m.room.message")
    event = room.event("m.room.name", state_key="", auth_events=[message.event_id])
    assert rule_of(auth_rules.check_auth_events(event, {message.event_id: message})) == f"{section}.2"
    assert known


@every_version
def test_create_events_have_no_auth_events_to_check(version: str) -> None:
    assert auth_rules.check_auth_events(Room(version).create, {}) is None


@every_version
def test_the_selected_auth_events_are_enough_to_authorise_the_event(version: str) -> None:
    room = Room(version)
    room.join_rule("public")
    room.levels(users={} if version == "12" else {ALICE: 100})
    room.member(BOB, "join")
    for type, content, state_key, sender in [
        ("m.room.message", {}, None, BOB),
        ("m.room.name", {}, "", ALICE),
        ("m.room.member", {"membership": "join"}, CAROL, CAROL),
        ("m.room.member", {"membership": "invite"}, CAROL, ALICE),
        ("m.room.member", {"membership": "ban"}, BOB, ALICE),
    ]:
        keys = auth_rules.auth_types(room.version, type, sender, state_key, content)
        selected = [room.state[key] for key in keys if key in room.state]
        event = room.event(
            type,
            content,
            sender=sender,
            state_key=state_key,
            auth_events=[event.event_id for event in selected],
        )
        assert auth_rules.check_auth_events(event, {event.event_id: event for event in selected}) is None
        assert auth_rules.check(event, auth_rules.as_state([room.create, *selected])) is None


# --- robustness


TYPES = st.sampled_from(
    [
        "m.room.create", "m.room.member", "m.room.join_rules", "m.room.power_levels", "m.room.third_party_invite",
        "m.room.aliases", "m.room.redaction", "m.room.message",
    ]
)  # fmt: skip
KNOWN_KEYS = st.sampled_from(
    [
        "additional_creators", "ban", "creator", "events", "invite", "join_authorised_via_users_server", "join_rule",
        "kick", "m.federate", "membership", "mxid", "notifications", "public_key", "public_keys", "redact", "redacts",
        "room_version", "signatures", "signed", "state_default", "third_party_invite", "token", "users",
        "users_default", ALICE, BOB,
    ]
)  # fmt: skip
KNOWN_VALUES = st.sampled_from(
    ["join", "invite", "knock", "leave", "ban", "public", "restricted", ALICE, BOB, "t", 50]
)
CONTENT = st.dictionaries(
    KNOWN_KEYS,
    st.recursive(
        KNOWN_VALUES | STRICT_JSON,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KNOWN_KEYS, inner, max_size=4),
        max_leaves=8,
    ),
    max_size=6,
)


@every_version
@given(
    type=TYPES,
    content=CONTENT | STRICT_OBJECTS,
    state_key=st.none() | st.sampled_from(["", ALICE, BOB, "t"]),
    sender=st.sampled_from([ALICE, BOB]),
    state=st.lists(st.tuples(TYPES, st.sampled_from(["", ALICE, BOB, "t"]), CONTENT), max_size=5),
)
def test_authorisation_never_raises_whatever_event_and_state_hold(
    version: str,
    type: str,
    content: dict[str, Any],
    state_key: str | None,
    sender: str,
    state: list[tuple[str, str, dict[str, Any]]],
) -> None:
    room = Room(version)
    room.join_rule("public")
    for state_type, key, state_content in state:
        if state_type != "m.room.create":
            room.put(state_type, state_content, state_key=key)
        elif key == "":
            room.create.content.update(state_content)
    try:
        event = room.event(type, content, state_key=state_key, sender=sender)
    except BadEvent:
        return
    verdict = auth_rules.check(event, room.state)
    assert verdict is None or (verdict.rule[0].isdigit() and verdict.reason.endswith("."))
    auth_rules.auth_types(room.version, type, sender, state_key, content)
    auth_rules.check_auth_events(event, {})
