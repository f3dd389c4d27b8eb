"""What becomes of rooms whose branches meet, told as stories; and what a resolution does with events of liars."""

from hashlib import sha1

import pytest
from bench.protocol.rooms import ADMIN, Key, differ, found, ids, member
from bench.protocol.rooms import Room as Branch
from tests.protocol.resolving import Index, resolve
from tests.protocol.room_script import ALL_VERSIONS, Room
from tests.protocol.sent_events import make_event

from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS, StateResolution
from ranvier.protocol.state_resolution import (
    NeedAuthDifference,
    NeedConflictedSubgraph,
    NeedEvents,
    NeedState,
    Resolved,
    conflicts,
    resolution,
    without_agreement,
)

MODERATOR, USER = member(0), member(5)
LEVELS: Key = ("m.room.power_levels", "")
TOPIC: Key = ("m.room.topic", "")


def merged(*branches: Branch, rejected: frozenset[str] = frozenset()) -> dict[Key, Event]:
    events = branches[0].events
    index = Index()
    for event in events.values():
        index.add(event)
    states = [ids(branch.state) for branch in branches]
    resolved = resolve(branches[0].version, states, events, index, rejected)
    assert resolved == resolve(branches[0].version, states[::-1], events, index, rejected)
    return {key: events[event_id] for key, event_id in resolved.items()}


def room_of(version: str) -> Branch:
    room = found(version, 8, moderators=2)
    room.put("m.room.topic", "", ADMIN, {"topic": "old"})
    return room


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_what_a_demoted_moderator_did_meanwhile_does_not_count(version: str) -> None:
    room = room_of(version)
    demoting, meanwhile = room.copy(), room.copy()
    levels = demoting.put(
        "m.room.power_levels", "", ADMIN, {**room.state[LEVELS].content, "users": {ADMIN: 100}}
    )
    if version == "12":
        levels = demoting.put("m.room.power_levels", "", ADMIN, {"users": {}})
    meanwhile.put("m.room.topic", "", MODERATOR, {"topic": "new"})
    state = merged(demoting, meanwhile)
    assert state[LEVELS] is levels
    assert state[TOPIC] is room.state[TOPIC]


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_who_is_banned_could_not_ban_others_meanwhile(version: str) -> None:
    room = room_of(version)
    banning, meanwhile = room.copy(), room.copy()
    ban = banning.put("m.room.member", MODERATOR, ADMIN, {"membership": "ban"})
    meanwhile.put("m.room.member", USER, MODERATOR, {"membership": "ban"})
    state = merged(banning, meanwhile)
    assert state["m.room.member", MODERATOR] is ban
    if room.version.state_resolution is not StateResolution.V1:
        # In version 1 memberships don't see each other's outcome.
        assert state["m.room.member", USER] is room.state["m.room.member", USER]


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("membership", ["ban", "leave"])
def test_what_the_removed_did_meanwhile_does_not_count_though_it_was_earlier(
    version: str, membership: str
) -> None:
    room = room_of(version)
    meanwhile, removing = room.copy(), room.copy()
    meanwhile.put("m.room.topic", "", MODERATOR, {"topic": "new"})
    removal = removing.put("m.room.member", MODERATOR, ADMIN, {"membership": membership})
    state = merged(removing, meanwhile)
    assert state["m.room.member", MODERATOR] is removal
    assert state[TOPIC] is room.state[TOPIC]


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_what_younger_power_levels_allowed_goes_before_what_older_ones_did_whatever_the_time(
    version: str,
) -> None:
    room = room_of(version)
    older = room.copy()
    content = room.state[LEVELS].content
    room.put("m.room.power_levels", "", ADMIN, {**content, "kick": 60})
    younger = room.copy()
    room.put("m.room.power_levels", "", ADMIN, {**content, "kick": 70})
    # Both are from before the newest power levels; the one under the younger ones is the earlier.
    topic = younger.put("m.room.topic", "", ADMIN, {"topic": "younger"})
    late = older.put("m.room.topic", "", ADMIN, {"topic": "older"})
    left, right = room.copy(), room.copy()
    left.state[TOPIC], right.state[TOPIC] = topic, late
    # In version 1 depth decides, and version 12 knows no power levels that are not in conflict themselves.
    by_levels = room.version.state_resolution is StateResolution.V2
    assert merged(left, right)[TOPIC] is (topic if by_levels else late)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_what_somebody_did_before_they_left_counts(version: str) -> None:
    room = room_of(version)
    meanwhile, leaving = room.copy(), room.copy()
    topic = meanwhile.put("m.room.topic", "", MODERATOR, {"topic": "new"})
    leave = leaving.put("m.room.member", MODERATOR, MODERATOR, {"membership": "leave"})
    state = merged(leaving, meanwhile)
    assert state["m.room.member", MODERATOR] is leave
    if room.version.state_resolution is not StateResolution.V1:
        # In version 1 memberships are settled first.
        assert state[TOPIC] is topic


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_who_could_no_longer_join_is_not_in_the_room(version: str) -> None:
    room = room_of(version)
    closing, meanwhile = room.copy(), room.copy()
    closing.put("m.room.join_rules", "", ADMIN, {"join_rule": "invite"})
    late = meanwhile.put("m.room.member", "@late:two.example", "@late:two.example", {"membership": "join"})
    state = merged(closing, meanwhile)
    assert state["m.room.join_rules", ""].content == {"join_rule": "invite"}
    if room.version.state_resolution is StateResolution.V1:
        # There a key that one branch lacks is no conflict.
        assert state["m.room.member", "@late:two.example"] is late
    else:
        assert ("m.room.member", "@late:two.example") not in state


@pytest.mark.parametrize("version", ALL_VERSIONS[1:])
def test_of_two_topics_the_later_counts_unless_it_was_set_under_older_power_levels(version: str) -> None:
    room = room_of(version)
    left, right = room.copy(), room.copy()
    left.put("m.room.topic", "", MODERATOR, {"topic": "earlier"})
    later = right.put("m.room.topic", "", member(1), {"topic": "later"})
    assert merged(left, right)[TOPIC] is later
    left = room.copy()
    left.put("m.room.power_levels", "", ADMIN, {**room.state[LEVELS].content, "kick": 40})
    newer = left.put("m.room.topic", "", MODERATOR, {"topic": "under newer levels"})
    right = room.copy()
    right.put("m.room.topic", "", member(1), {"topic": "later, under older levels"})
    assert merged(left, right)[TOPIC] is newer


@pytest.mark.parametrize("version", ALL_VERSIONS[1:])
def test_an_event_that_was_rejected_once_may_count_after_all(version: str) -> None:
    room = room_of(version)
    left, right = room.copy(), room.copy()
    topic = right.put("m.room.topic", "", ADMIN, {"topic": "rejected, and yet"})
    assert merged(left, right, rejected=frozenset({topic.event_id}))[TOPIC] is topic


def test_power_levels_that_cite_each_other_in_a_circle_hold_nothing_up() -> None:
    """In rooms of version 2 servers choose the IDs, so that a liar can make such events."""
    room = Room("2")

    def levels(name: str, *cites: str) -> Event:
        return make_event(
            "m.room.power_levels",
            {},
            state_key="",
            version="2",
            event_id=name,
            auth_events=[[cited, {}] for cited in cites],
        )

    events = {"$a": levels("$a", "$b"), "$b": levels("$b", "$a"), "$c": levels("$c", "$c")}
    events["$t"] = make_event(
        "m.room.topic", {}, state_key="", version="2", event_id="$t", auth_events=[["$b", {}]]
    )
    events["$create"] = room.create
    states = [{LEVELS: "$a", TOPIC: "$t"}, {LEVELS: "$c"}]
    for step in resolution(ROOM_VERSIONS["2"], states):
        match step:
            case NeedEvents():
                step.events = {
                    event_id: events[event_id] for event_id in step.event_ids if event_id in events
                }
            case NeedState():
                step.state = {("m.room.create", ""): "$create"} if ("m.room.create", "") in step.keys else {}
            case NeedAuthDifference():
                step.event_ids = frozenset({"$b"})
            case Resolved():
                assert step.changes == {LEVELS: None, TOPIC: None}
                return
    pytest.fail("There was no outcome.")


@pytest.mark.parametrize("version", ["11", "12"])
def test_a_small_difference_is_resolved_with_little_reading_however_long_the_rooms_story(
    version: str,
) -> None:
    def rows_read(power_levels: int) -> int:
        room = found(version, 30)
        for number in range(power_levels):
            room.put("m.room.power_levels", "", ADMIN, {**room.state[LEVELS].content, "kick": number % 50})
        left, right = room.copy(), room.copy()
        left.put("m.room.topic", "", ADMIN, {"topic": "left"})
        right.put("m.room.topic", "", ADMIN, {"topic": "right"})
        left.put("m.room.member", member(3), ADMIN, {"membership": "leave"})
        right.put("m.room.member", member(3), member(3), {"membership": "join", "displayname": "new"})
        index = Index()
        for event in room.events.values():
            index.add(event)
        states = [ids(left.state), ids(right.state)]
        resolve(room.version, states, room.events, index)
        return index.told

    assert rows_read(400) == rows_read(20) < 60


def test_branches_that_differ_in_much_resolve_to_one_state_of_both() -> None:
    left, right = differ(found("11", 1200), 100)
    state = merged(left, right)
    assert state.keys() == left.state.keys() | right.state.keys()


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_nothing_is_asked_twice_and_paths_between_conflicted_events_as_of_version_12_only(
    version: str,
) -> None:
    branches = differ(found(version, 1010), 6)
    room, states = branches[0], [ids(branch.state) for branch in branches]
    index = Index()
    for event in room.events.values():
        index.add(event)
    cut = without_agreement(states)
    agreed = {key: event_id for key, event_id in states[0].items() if key not in conflicts(states)}
    asked: list[str] = []
    paths = 0
    for step in resolution(room.version, cut):
        match step:
            case NeedEvents():
                asked += step.event_ids
                step.events = {event_id: room.events[event_id] for event_id in step.event_ids}
            case NeedState():
                step.state = {key: agreed[key] for key in step.keys if key in agreed}
            case NeedAuthDifference():
                step.event_ids = index.difference(step.states, agreed)
            case NeedConflictedSubgraph():
                paths += 1
                step.event_ids = index.subgraph(step.conflicted)
    assert len(asked) == len(set(asked))
    assert paths == (room.version.state_resolution is StateResolution.V2_1)


def two_topics(sender: str, depths: tuple[int, int], ids: tuple[str, str]) -> tuple[Branch, Branch]:
    room = room_of("1")
    branches = room.copy(), room.copy()
    for branch, depth, event_id in zip(branches, depths, ids, strict=True):
        pdu = branch.put("m.room.topic", "", sender, {"topic": event_id}).pdu
        event = Event(event_id, room.version, {**pdu, "depth": depth, "event_id": event_id})
        branch.events[event_id] = branch.state[TOPIC] = event
    return branches


@pytest.mark.parametrize("number", range(8))
def test_in_version_1_the_id_decides_among_events_of_one_depth(number: int) -> None:
    names = (f"$one{number}:one.example", f"$two{number}:one.example")
    state = merged(*two_topics(ADMIN, (50, 50), names))
    assert state[TOPIC].event_id == min(names, key=lambda name: sha1(name.encode()).digest())


def test_in_version_1_a_rejected_event_is_no_candidate() -> None:
    branches = two_topics(ADMIN, (50, 51), ("$one:one.example", "$two:one.example"))
    assert merged(*branches)[TOPIC].event_id == "$two:one.example"
    rejected = frozenset({"$two:one.example"})
    assert merged(*branches, rejected=rejected)[TOPIC].event_id == "$one:one.example"


def test_in_version_1_the_least_deep_is_taken_where_none_is_allowed() -> None:
    state = merged(*two_topics(USER, (50, 51), ("$one:one.example", "$two:one.example")))
    assert state[TOPIC].event_id == "$one:one.example"
