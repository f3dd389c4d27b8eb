"""Who may see an event, decided from the state of the room at that event.

Source: Client-Server API, "Room History Visibility", "Server behaviour" (rules 1 to 5).
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ranvier.protocol.events import Event

VISIBILITIES: Final = frozenset({"world_readable", "shared", "invited", "joined"})
"""The values that `history_visibility` can have."""

DEFAULT_VISIBILITY: Final = "shared"
"""What holds when a room has set none, or one that is not understood."""

NO_MEMBERSHIP: Final = "leave"
"""What one who has no `m.room.member` event in a room is taken for."""


def read_visibility(content: Mapping[str, Any] | None) -> str:
    """The visibility that the content of `m.room.history_visibility` sets; None if there is no such event."""
    visibility = None if content is None else content.get("history_visibility")
    return visibility if isinstance(visibility, str) and visibility in VISIBILITIES else DEFAULT_VISIBILITY


def read_membership(content: Mapping[str, Any] | None) -> str:
    """The membership that the content of an `m.room.member` event sets; None if there is no such event."""
    membership = None if content is None else content.get("membership")
    return membership if isinstance(membership, str) else NO_MEMBERSHIP


def allows(visibility: str, membership: str, *, joined_since: bool) -> bool:
    """Whether one state of a room lets a user see an event.

    `joined_since` tells whether the user joined the room at any point after the event was sent.
    """
    if visibility == "world_readable":  # rule 1
        return True
    if membership == "join":  # rule 2
        return True
    if visibility == "shared" and joined_since:  # rule 3
        return True
    return visibility == "invited" and membership == "invite"  # rule 4; otherwise rule 5


def may_see(event: "Event", user_id: str, visibility: str, membership: str, *, joined_since: bool) -> bool:
    """Whether the user may see the event.

    `visibility` and `membership` are those of the room and the user *before* the event. An event that changes
    one of them may be seen if the state before or after it would let the user see it.
    """
    visibility_after = visibility_with(event, visibility)
    membership_after = membership_with(event, user_id, membership)
    return allows(visibility, membership, joined_since=joined_since) or (
        (visibility_after != visibility or membership_after != membership)
        and allows(visibility_after, membership_after, joined_since=joined_since)
    )


def visibility_with(event: "Event", before: str) -> str:
    """The room's visibility once the event holds."""
    if event.type == "m.room.history_visibility" and event.state_key == "":
        return read_visibility(event.content)
    return before


def membership_with(event: "Event", user_id: str, before: str | None) -> str:
    """The user's membership once the event holds: what `unsigned.membership` tells that user.

    `before` is None for one who has no membership in the room yet.
    """
    if event.type == "m.room.member" and event.state_key == user_id:
        return read_membership(event.content)
    return NO_MEMBERSHIP if before is None else before


def may_server_see(visibility: str, memberships: Collection[str]) -> bool:
    """Whether one state of a room lets a server in the room be given an event, for any of its users.

    `memberships` are those of the server's users. A history that those who join later may see is open to every
    server in the room.
    """
    if visibility in ("world_readable", "shared"):
        return True
    return "join" in memberships or (visibility == "invited" and "invite" in memberships)


def may_server_see_event(
    event: "Event", server_name: str, visibility: str, memberships: Collection[str]
) -> bool:
    """Whether a server in the room may be given the event; if not, its redacted form or none of it.

    `visibility` and `memberships` (of the server's users) are those *before* the event. As for users, an event
    that changes one of them may be seen if the state before or after it would let it be seen; and a server's
    own events are no news to it.
    """
    if _is_of(event.sender, server_name):
        return True
    if may_server_see(visibility, memberships):
        return True
    if event.type == "m.room.member" and event.state_key is not None and _is_of(event.state_key, server_name):
        return may_server_see(visibility, [read_membership(event.content)])
    return may_server_see(visibility_with(event, visibility), memberships)


def _is_of(user_id: str, server_name: str) -> bool:
    return user_id.partition(":")[2] == server_name
