"""Events for tests, as a room would hold them, without the trouble of building and signing them."""

from typing import Any

from ranvier.protocol.events import Event
from ranvier.protocol.room_versions import ROOM_VERSIONS

ROOM = "!room:example.org"
ALICE = "@alice:example.org"
BOB = "@bob:example.org"


def make_event(
    type: str = "m.room.message",
    content: dict[str, Any] | None = None,
    *,
    sender: str = ALICE,
    state_key: str | None = None,
    event_id: str = "$event",
    room_id: str = ROOM,
    version: str = "11",
    origin_server_ts: int = 1_432_735_824_653,
    **more: Any,
) -> Event:
    """An event of a room version that does not derive the room's ID from an event."""
    pdu = {
        "type": type,
        "sender": sender,
        "room_id": room_id,
        "content": {} if content is None else content,
        "depth": 12,
        "origin_server_ts": origin_server_ts,
        "prev_events": [],
        "auth_events": [],
        "hashes": {"sha256": "thishashcoversallfieldsincasethisisredacted"},
        "signatures": {},
        **more,
    }
    if state_key is not None:
        pdu["state_key"] = state_key
    return Event(event_id, ROOM_VERSIONS[version], pdu)


def make_message(body: str, **more: Any) -> Event:
    """A text message."""
    return make_event(content={"msgtype": "m.text", "body": body}, **more)
