"""The tree of rooms below a space: its children in order, and the walk through them.

Source: client-server API, "Spaces" (`m.space.child`, "Ordering of children within a space",
`GET /rooms/{roomId}/hierarchy`); server-server API, `GET /hierarchy/{roomId}`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ranvier.protocol.events import Event
from ranvier.protocol.identifiers import is_valid_server_name

MAX_CHILDREN: Final = 1_000
"""Children of one space that are walked, in their order."""
MAX_ROOMS: Final = 5_000
"""Rooms that one walk asks for."""
MAX_DEPTH: Final = 50
"""How far below its root a walk goes."""
MAX_VIA: Final = 20
"""Servers that are remembered for one child."""

_ORDER: Final = re.compile(r"[\x20-\x7e]{1,50}\Z")


@dataclass(frozen=True, slots=True)
class Child:
    """A valid `m.space.child`: the room, servers to ask for it, and where it stands.

    `stripped` is the event as answers hold it: stripped state with `origin_server_ts`.
    """

    room_id: str
    via: tuple[str, ...]
    order: str | None
    suggested: bool
    origin_server_ts: int
    stripped: dict[str, Any]


def child_of(event: Event) -> Child | None:
    """The child that a state event of a space names, None if it is no valid one."""
    if event.type != "m.space.child" or event.state_key is None:
        return None
    return read_child(
        {
            "type": event.type,
            "state_key": event.state_key,
            "content": event.content,
            "sender": event.sender,
            "origin_server_ts": event.origin_server_ts,
        }
    )


def read_child(stripped: Any) -> Child | None:
    """The child that an item of `children_state` names, as a peer answers it; None if it is no valid one."""
    if not isinstance(stripped, dict) or stripped.get("type") != "m.space.child":
        return None
    room_id, content = stripped.get("state_key"), stripped.get("content")
    sent_at, sender = stripped.get("origin_server_ts"), stripped.get("sender")
    if not isinstance(room_id, str) or room_id[:1] != "!" or "\0" in room_id or not isinstance(content, dict):
        return None
    if type(sent_at) is not int or not isinstance(sender, str):
        return None
    via = content.get("via")
    if not isinstance(via, list) or not via or not all(isinstance(server, str) for server in via):
        return None
    order = content.get("order")
    return Child(
        room_id=room_id,
        via=tuple(server for server in via[:MAX_VIA] if is_valid_server_name(server)),
        order=order if isinstance(order, str) and _ORDER.match(order) is not None else None,
        suggested=content.get("suggested") is True,
        origin_server_ts=sent_at,
        stripped={
            key: stripped[key] for key in ("type", "state_key", "content", "sender", "origin_server_ts")
        },
    )


def in_order(children: Iterable[Child], *, suggested_only: bool = False) -> list[Child]:
    """The children as a space shows them: those with an `order` first."""
    wanted = [child for child in children if child.suggested or not suggested_only]
    return sorted(wanted, key=_place)


def _place(child: Child) -> tuple[bool, str, int, str]:
    return (child.order is None, child.order or "", child.origin_server_ts, child.room_id)


@dataclass(frozen=True, slots=True)
class NeedRoom:
    """What the walk asks for: a room, servers that may know it, and how far below the root it is."""

    room_id: str
    via: tuple[str, ...]
    depth: int


class HierarchyWalk:
    """A walk, depth first, through the rooms below a space: it asks for a room and is told its children.

    Ask `wanted` until it is None, and answer each time by `tell`. A room comes once, in whichever place it is
    first met, so that loops end. A page is a part of the walk: its end is a good place to pause.
    """

    def __init__(self, root: str, *, max_depth: int | None = None, suggested_only: bool = False) -> None:
        self.max_depth = MAX_DEPTH if max_depth is None else min(max_depth, MAX_DEPTH)
        self.suggested_only = suggested_only
        self._stack = [NeedRoom(root, (), 0)]
        self._met: set[str] = set()
        self._asked: NeedRoom | None = None

    def wanted(self) -> NeedRoom | None:
        """The next room; the same one until it was told of. None at the end."""
        if self._asked is None and len(self._met) < MAX_ROOMS:
            while self._stack:
                need = self._stack.pop()
                if need.room_id not in self._met:
                    self._met.add(need.room_id)
                    self._asked = need
                    break
        return self._asked

    def tell(self, children: Iterable[Child]) -> list[Child]:
        """The children of the room that was wanted; none of a room that is no space, or not for this user.

        Returns those that belong into its `children_state`, in order.
        """
        assert self._asked is not None, "a room is told of that was not asked for"
        need, self._asked = self._asked, None
        ordered = in_order(children, suggested_only=self.suggested_only)[:MAX_CHILDREN]
        if need.depth < self.max_depth:
            self._stack += [NeedRoom(child.room_id, child.via, need.depth + 1) for child in reversed(ordered)]
        return ordered
