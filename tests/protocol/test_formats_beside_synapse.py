"""What becomes of events with one odd field, beside what Synapse makes of them: dropping what others keep splits rooms.

It needs a Python that has Synapse, as `test_agreement_with_synapse` does.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.protocol.beside_synapse import synapse_python
from tests.protocol.room_script import ALL_VERSIONS, build

from ranvier.protocol import events
from ranvier.protocol.events import BadEvent
from ranvier.protocol.room_versions import ROOM_VERSIONS

ODD: list[Any] = [
    None, 0, -1, 1, "", [], {}, "x", True, 1.5, 2**53, 2**63, -(2**63), "$x:one.example", "$x", "@a:b", "@a",
    "!r:b", "é" * 200, "x" * 256, [["$e:b", {}]], ["$e"], ["$e:b"] * 21, [["$e:b", {"sha256": "x"}]] * 11,
    {"sha256": 5}, {"sha256": "x"}, {"a": {"b": 5}}, {"one.example": {}}, "@:one.example", "@A b:one.example",
    "@" + "é" * 150 + ":one.example",
]  # fmt: skip
FIELDS = (
    "type", "sender", "state_key", "content", "depth", "origin_server_ts", "hashes", "signatures", "prev_events",
    "auth_events", "unsigned", "redacts", "event_id", "extra",
)  # fmt: skip


def cases() -> Iterator[tuple[str, str, Any, dict[str, Any]]]:
    for version in ALL_VERSIONS:
        for state in ({}, {"state_key": ""}):
            pdu = build(ROOM_VERSIONS[version], type="m.x", content={"x": 1}, **state).pdu
            # Both look for a signature of the sender's server; here it shall be the format that decides.
            pdu["signatures"] = {**pdu["signatures"], "b": {"ed25519:1": "x"}}
            for field in FIELDS:
                yield version, field, "none", {key: value for key, value in pdu.items() if key != field}
                for odd in ODD:
                    yield version, field, odd, {**pdu, field: odd}


def our_fate(version: str, pdu: dict[str, Any]) -> str:
    try:
        event = events.parse(json.loads(json.dumps(pdu)), ROOM_VERSIONS[version])
    except BadEvent:
        return "dropped"
    return "accepted" if events.exceeded_limit(event) is None else "rejected"


def is_explained(field: str, odd: Any, ours: str, theirs: str) -> bool:
    """Where the text says something else than Synapse does, or signatures come in between."""
    if field == "sender":
        # It takes any text with a colon for a user ID, and looks for the signature of what follows.
        return isinstance(odd, str) and not odd.startswith("@")
    if field == "event_id":
        # Room versions 1 and 2: it takes any text with a colon for an event ID.
        return isinstance(odd, str) and not odd.startswith("$")
    if field == "content":
        # It looks at content only where it uses it.
        return not isinstance(odd, dict) and ours == "dropped"
    if field == "depth":
        # Room versions 1 to 5: the text allows 2^63-1, it no more than 2^53-1.
        return odd == 2**53 and (ours, theirs) == ("accepted", "dropped")
    # No server's signatures are there: for that it drops the event here already, we do so later.
    return field == "signatures" and (ours, theirs) == ("accepted", "dropped")


def test_odd_events_meet_the_fate_that_they_meet_in_synapse() -> None:
    asked = list(cases())
    lines = (json.dumps({"version": version, "event": pdu}) for version, _, _, pdu in asked)
    run = subprocess.run(
        [synapse_python(), str(Path(__file__).with_name("synapse_formats.py"))],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    fates = [json.loads(line) for line in run.stdout.splitlines()]
    seen = set()
    for (version, field, odd, pdu), theirs in zip(asked, fates, strict=True):
        ours = our_fate(version, pdu)
        seen.add(ours)
        if ours != theirs and not is_explained(field, odd, ours, theirs):
            told = f"version {version}, {field}: {str(odd)[:60]!r}: {ours} here, {theirs} in Synapse"
            raise AssertionError(told)
    assert seen == {"accepted", "rejected", "dropped"}
