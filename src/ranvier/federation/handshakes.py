"""Events that this server makes from other servers' templates: joins, knocks and leaves of rooms that it is not in.

Source: Server-Server API, "Joining Rooms", "Knocking upon a room", "Leaving Rooms (Rejecting Invites)".
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from ranvier.protocol import events
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.refusal import Refusal, not_found
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.signing import SigningKey
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.templates import Template

MAX_SERVERS: Final = 10
"""Servers through which one request tries to get into a room."""
_KEPT: Final = frozenset({"join_authorised_via_users_server"})
"""What a template says in a membership's content that only the resident server can know."""

Done = TypeVar("Done")


def completed(
    template: Template,
    destination: str,
    signer: SigningKey,
    *,
    room_id: str,
    user_id: str,
    content: Mapping[str, Any],
    now: int,
) -> Event:
    """The template with this content, time (ms since the epoch) and our signature.

    Raises RemoteFailure if it is not the membership of this user in this room that was asked for.
    """
    pdu = dict(template.event)
    told = pdu.get("content")
    told = told if isinstance(told, dict) else {}
    asked = {"type": "m.room.member", "room_id": room_id, "sender": user_id, "state_key": user_id}
    if any(pdu.get(key) != value for key, value in asked.items()):
        raise RemoteFailure(destination, "Its template is not for the event that was asked for.", status=200)
    if told.get("membership") != content["membership"]:
        raise RemoteFailure(destination, "Its template is for another membership.", status=200)
    pdu["content"] = {**{key: told[key] for key in _KEPT if key in told}, **content}
    pdu["origin"] = signer.server_name
    pdu["origin_server_ts"] = now
    try:
        return events.complete(pdu, ROOM_VERSIONS[template.room_version], signer)
    except BadEvent as error:
        raise RemoteFailure(destination, f"Its template can't be used: {error}", status=200) from None


async def through(servers: Sequence[str], attempt: Callable[[str], Awaitable[Done]], *, room_id: str) -> Done:
    """What the first server answers through which the attempt succeeds.

    Raises `Refusal` with the reason that helps most: a no of a server that is in the room before a silence.
    """
    failures: list[RemoteFailure] = []
    for server in servers[:MAX_SERVERS]:
        try:
            return await attempt(server)
        except RemoteFailure as failure:
            failures.append(failure)
    if not failures:
        raise not_found(
            f"This server is not in the room {room_id[:255]} and knows no server that is: name one with 'via'."
        )
    raise refusal_of(failures)


def refusal_of(failures: Sequence[RemoteFailure]) -> Refusal:
    """What a client is told of attempts that all failed."""
    told = [failure for failure in failures if failure.refused and failure.errcode is not None]
    if told:
        # The last no is of the server that was asked when the others could not help.
        best = next((f for f in told if f.errcode == "M_FORBIDDEN"), told[-1])
        errcode = best.errcode or "M_UNKNOWN"
        is_ours = errcode in ("M_MISSING_PARAM", "M_INVALID_PARAM", "M_UNRECOGNIZED")
        if is_ours or not best.concerns_what_was_asked:
            # Not the client's fault, but ours or the peer's.
            return Refusal("M_UNKNOWN", f"Another server refused the request: {best}", status=502)
        return Refusal(errcode, f"{best.destination} refused: {best.reason}", status=best.status)
    reasons = "; ".join(str(failure) for failure in failures[:3])
    return Refusal("M_UNKNOWN", f"No server of the room could be asked. {reasons}", status=502)
