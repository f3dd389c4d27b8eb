"""Events in the form in which clients get them.

An event is serialised once, without what depends on the reader and the place: its `unsigned`, and the
`room_id`, which sync leaves out. Both are added to the bytes, at the price of copying them.

Source: Client-Server API, "Room event format", "Stripped state"; `redacts`: room version 11, "Event format".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from ranvier.protocol.canonical_json import trim

if TYPE_CHECKING:
    from ranvier.protocol.events import Event

STRIPPED_STATE_TYPES: Final = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)
"""The state, each with an empty state_key, that shows a room to one who may join it."""

_STRIPPED_KEYS: Final = ("type", "state_key", "sender", "content")


def client_event(event: "Event") -> dict[str, Any]:
    """The event for clients, without `room_id` and `unsigned`. It shares its values with the event.

    A redaction names its target both in the content, as of room version 11, and at the top level, as before,
    in whichever version its room is.
    """
    shaped: dict[str, Any] = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": event.type,
    }
    if event.state_key is not None:
        shaped["state_key"] = event.state_key
    if event.type == "m.room.redaction" and event.redacts is not None:
        shaped["redacts"] = event.redacts
        shaped["content"] = {**event.content, "redacts": event.redacts}
    return shaped


def client_json(event: "Event") -> bytes:
    """`client_event` as JSON, made once and kept with the event."""
    json = event.client_json
    if json is None:
        json = event.client_json = trim(orjson.dumps(client_event(event)))
    return json


def splice_unsigned(json: bytes, unsigned: bytes) -> bytes:
    """The event's JSON with `unsigned`, which is itself a JSON object."""
    return b"".join((memoryview(json)[:-1], b',"unsigned":', unsigned, b"}"))


def splice_room_id(json: bytes, room_id: str) -> bytes:
    """The event's JSON with `room_id`."""
    return b"".join((b'{"room_id":', orjson.dumps(room_id), b",", memoryview(json)[1:]))


def full_json(event: "Event", unsigned: bytes | None = None) -> bytes:
    """The event with its `room_id`, for where no other part of the answer names the room."""
    json = splice_room_id(client_json(event), event.room_id)
    return json if unsigned is None else splice_unsigned(json, unsigned)


def unsigned_json(
    *,
    age: int | None = None,
    transaction_id: str | None = None,
    delay_id: str | None = None,
    membership: str | None = None,
    prev_content: Mapping[str, Any] | None = None,
    prev_sender: str | None = None,
    replaces_state: str | None = None,
    redacted_because: bytes | None = None,
    relations: Mapping[str, Any] | None = None,
    room_state: tuple[str, list[dict[str, Any]]] | None = None,
) -> bytes | None:
    """The `unsigned` of an event for one reader, as JSON; None if there is nothing to say.

    `age` is in milliseconds. `transaction_id` belongs to the device that sent the event, `delay_id` (MSC4140) to
    the user who had it sent later, `prev_content` to those who may see the event that this one replaced.
    `redacted_because` is the redaction's JSON, `relations` what `relations.bundle_relations` gives (it may hold
    `orjson.Fragment`). `room_state` is the stripped state of an invite or knock under its name,
    `invite_room_state` or `knock_room_state`.
    """
    unsigned: dict[str, Any] = {}
    if age is not None:
        unsigned["age"] = age
    if transaction_id is not None:
        unsigned["transaction_id"] = transaction_id
    if delay_id is not None:
        unsigned["org.matrix.msc4140.delay_id"] = delay_id
    if membership is not None:
        unsigned["membership"] = membership
    if prev_content is not None:
        unsigned["prev_content"] = prev_content
    if prev_sender is not None:
        # COMPAT(synapse): clients show by it who had invited somebody; the specification does not know it.
        unsigned["prev_sender"] = prev_sender
    if replaces_state is not None:
        unsigned["replaces_state"] = replaces_state
    if redacted_because is not None:
        unsigned["redacted_because"] = orjson.Fragment(redacted_because)
    if relations:
        unsigned["m.relations"] = relations
    if room_state is not None:
        unsigned[room_state[0]] = room_state[1]
    return orjson.dumps(unsigned) if unsigned else None


def strip_state(event: "Event") -> dict[str, Any]:
    """A state event of ours as stripped state; a create event says more, so that rooms can be told apart (MSC4311)."""
    stripped: dict[str, Any] = {
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "content": event.content,
    }
    if event.type == "m.room.create":
        stripped |= {"event_id": event.event_id, "origin_server_ts": event.origin_server_ts}
    return stripped


def prune_stripped_state(received: object) -> dict[str, Any] | None:
    """What another server gave as a stripped state event, with only the properties that one may have (MSC4311 too).

    None if it does not have the form of one.
    """
    if not isinstance(received, dict) or not isinstance(received.get("content"), dict):
        return None
    if not all(isinstance(received.get(key), str) for key in ("type", "state_key", "sender")):
        return None
    pruned = {key: received[key] for key in _STRIPPED_KEYS}
    if received["type"] == "m.room.create":
        told = {"event_id": str, "origin_server_ts": int}
        pruned |= {key: received[key] for key, kind in told.items() if type(received.get(key)) is kind}
    return pruned
