"""Names, redacted forms and verdicts of chance events, compared with those of Synapse.

It needs a Python that has Synapse (`RANVIER_TEST_SYNAPSE_PYTHON`, or one of the project's `.cache`). Where the
specification and Synapse are known to differ, no such case is made; see `chance_level` and `differs`.
"""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

from tests.protocol.beside_synapse import synapse_python
from tests.protocol.room_script import ALICE, ALL_VERSIONS, BOB, CAROL, IDENTITY_KEY, KEY, Room

from ranvier.protocol import auth_rules, unpadded_base64
from ranvier.protocol.events import Event
from ranvier.protocol.redaction import redact
from ranvier.protocol.room_versions import RoomVersion

DAN = "@dan:two.example"
USERS = [ALICE, BOB, CAROL, DAN]
LEVELS = ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"]
PUBLIC = unpadded_base64.encode(IDENTITY_KEY.public)
SIGNED = IDENTITY_KEY.sign_json({"mxid": DAN, "token": "token"})
CASES = 250
"""For each room version."""


def chance_level(chance: random.Random, version: RoomVersion) -> Any:
    """Mostly an integer. No booleans: Synapse takes them for integers before version 10, we do not."""
    odd = chance.randrange(40)
    if odd < 5:
        return [None, "abc", " +50 ", "100", [1]][odd]
    if odd == 6 and not version.strict_json:
        return 50.7
    return chance.choice([-1, 0, 1, 25, 49, 50, 51, 100, 100, 101])


def chance_levels(chance: random.Random, version: RoomVersion, *, sound: bool) -> dict[str, Any]:
    """Content of a power levels event."""

    def level() -> Any:
        return chance.choice([0, 25, 49, 50, 51, 100]) if sound else chance_level(chance, version)

    def some(keys: list[str]) -> dict[str, Any]:
        return {key: level() for key in keys if chance.random() < 0.5}

    users = [
        user
        for user in USERS
        if not (sound and version.creators_have_infinite_power and user in (ALICE, BOB))
    ]
    content: dict[str, Any] = {key: level() for key in LEVELS if chance.random() < 0.25}
    content["users"] = some(users)
    for key, entries in (
        ("events", ["m.room.name", "m.room.message", "m.room.power_levels", "m.room.redaction"]),
        ("notifications", ["room", "other"]),
    ):
        if chance.random() < 0.5:
            content[key] = some(entries)
    if not sound and chance.random() < 0.05:
        content["users"] = chance.choice([[], "x", {"bob": 1}, {"@bob": 3}])
    if not sound and chance.random() < 0.05:
        content["events"] = chance.choice([[], "x", None, 3])
    return content


def chance_room(chance: random.Random, version: str) -> Room:
    create: dict[str, Any] = {"m.federate": False} if chance.random() < 0.1 else {}
    if chance.random() < 0.4:
        create["additional_creators"] = [BOB]
    room = Room(version, **create)
    del room.state["m.room.member", ALICE]
    for user in USERS:
        membership = chance.choice([None, "join", "join", "join", "invite", "leave", "ban", "knock"])
        if membership is not None:
            room.member(user, membership)
    if chance.random() < 0.9:
        rules = ["public", "invite", "knock", "restricted", "knock_restricted", "private"]
        room.join_rule(chance.choice(rules))
    if chance.random() < 0.8:
        room.levels(**chance_levels(chance, room.version, sound=True))
    if chance.random() < 0.5:
        keys = [
            {"public_key": PUBLIC},
            {"public_keys": [{"public_key": PUBLIC}]},
            {"public_key": unpadded_base64.encode(KEY.public)},
        ]
        room.put(
            "m.room.third_party_invite", chance.choice(keys), state_key="token", sender=chance.choice(USERS)
        )
    return room


def chance_membership(chance: random.Random, sender: str) -> tuple[dict[str, Any], str]:
    content: dict[str, Any] = {
        "membership": chance.choice(["join", "join", "invite", "leave", "ban", "knock", "x"])
    }
    target = chance.choice([sender, sender, *USERS])
    if content["membership"] == "join" and chance.random() < 0.3:
        content["join_authorised_via_users_server"] = chance.choice(USERS)
    if content["membership"] == "invite" and chance.random() < 0.5:
        forms = [SIGNED, SIGNED, {**SIGNED, "token": "z"}, {**SIGNED, "more": 1}, {"mxid": DAN}, {}]
        content["third_party_invite"] = {"signed": chance.choice(forms)}
        target = chance.choice([target, DAN])
    return content, target


def chance_event(chance: random.Random, room: Room) -> Event:
    sender = chance.choice(USERS)
    state_key: str | None
    content: dict[str, Any] = {}
    more: dict[str, Any] = {}
    kind = chance.randrange(10)
    if kind < 5:
        type = "m.room.member"
        content, state_key = chance_membership(chance, sender)
        if chance.random() < 0.2:
            more["prev_events"] = [room.create.event_id]
    elif kind < 8:
        type, state_key = "m.room.power_levels", ""
        content = chance_levels(chance, room.version, sound=False)
        before = room.state.get(("m.room.power_levels", ""))
        if before is not None and chance.random() < 0.7:
            kept = {key: value for key, value in content.items() if chance.random() < 0.4}
            content = {**before.content, **kept}
    else:
        type = chance.choice(
            [
                "m.room.name",
                "m.room.message",
                "m.room.third_party_invite",
                "m.room.aliases",
                "m.room.redaction",
            ]
        )
        state_key = chance.choice([None, "", "x", "one.example", sender, BOB])
        if type == "m.room.redaction":
            state_key = None
            more["redacts"] = chance.choice(["$a:one.example", "$a:two.example"])
    return room.event(type, content, sender=sender, state_key=state_key, **more)


def differs(room: Room, event: Event) -> bool:
    """Synapse also keeps a closed room's members from inviting, kicking or banning users of other servers."""
    closed = room.create.content.get("m.federate") is False
    return closed and event.type == "m.room.member" and not (event.state_key or "").endswith(":one.example")


def answers_to(cases: list[tuple[Room, Event]]) -> list[dict[str, Any]]:
    lines = []
    for room, event in cases:
        state = [state.pdu for state in room.state.values()]
        lines.append(json.dumps({"version": room.version.identifier, "event": event.pdu, "state": state}))
    run = subprocess.run(
        [synapse_python(), str(Path(__file__).with_name("synapse_verdicts.py"))],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_synapse_names_redacts_and_authorises_events_as_we_do() -> None:
    seed = int(os.environ.get("RANVIER_TEST_SEED", "1"))
    chance = random.Random(seed)
    cases = []
    for version in ALL_VERSIONS * CASES:
        room = chance_room(chance, version)
        cases.append((room, chance_event(chance, room)))
    allowed = 0
    for (room, event), answer in zip(cases, answers_to(cases), strict=True):
        told = f"seed {seed}, version {room.version.identifier}"
        assert event.event_id == answer["event_id"], f"{told}: {event.pdu}"
        answer["redacted"].pop("unsigned", None)
        assert redact(event.pdu, room.version) == answer["redacted"], told
        verdict = auth_rules.check(event, room.state)
        if not differs(room, event):
            state = [(state.type, state.state_key, state.content) for state in room.state.values()]
            theirs = answer["reason"]
            assert (verdict is None) is (theirs is None), (
                f"{told}: we say {verdict}, Synapse says {theirs} of {event.pdu} in {state}"
            )
        allowed += verdict is None
    assert len(cases) / 50 < allowed < len(cases)
