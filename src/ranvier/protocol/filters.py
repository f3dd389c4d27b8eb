"""Filters: what a client wants to see of rooms and events.

A filter is compiled into values that decide fast and that the store can read. `filter_parsing` makes them of
what a client sent.

Source: Client-Server API, "Filtering"; `related_by_senders` and `related_by_rel_types`: MSC3440;
`rel_types` and `not_rel_types`: MSC3874.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ranvier.protocol.globs import Glob
from ranvier.protocol.property_paths import split_path
from ranvier.protocol.relations import relation_of

if TYPE_CHECKING:
    from ranvier.protocol.events import Event


class TypePatterns:
    """A list of event types in which `*` stands for any characters."""

    __slots__ = ("_globs", "_prefixes", "exact", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self.exact = frozenset(pattern for pattern in self.patterns if "*" not in pattern)
        prefixes, globs = [], []
        for pattern in self.patterns:
            if pattern.endswith("*") and pattern.count("*") == 1:
                prefixes.append(pattern[:-1])
            elif "*" in pattern:
                globs.append(Glob(pattern, question_marks=False))
        self._prefixes = tuple(prefixes)
        self._globs = tuple(globs)

    def matches(self, event_type: str) -> bool:
        """Whether the type is in the list."""
        if event_type in self.exact or event_type.startswith(self._prefixes):
            return True
        return any(glob.matches(event_type) for glob in self._globs)

    def __repr__(self) -> str:
        return f"TypePatterns({self.patterns!r})"


_NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted. None means that a property is not asked for; an empty list, that none will do.

    `limit` is bounded, and None if the filter does not say. What is listed under a name with `not_` is
    excluded, whatever else holds. What follows `contains_url` inclusive is only given in a RoomEventFilter.
    """

    limit: int | None = None
    types: TypePatterns | None = None
    not_types: TypePatterns | None = None
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()
    contains_url: bool | None = None
    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    related_by_senders: frozenset[str] | None = None
    related_by_rel_types: frozenset[str] | None = None
    rel_types: frozenset[str] | None = None
    not_rel_types: frozenset[str] = frozenset()

    def wants_all(self) -> bool:
        """Whether every event passes, in every room."""
        return (
            self.types is None
            and self.not_types is None
            and self.senders is None
            and not self.not_senders
            and self.contains_url is None
            and self.rooms is None
            and not self.not_rooms
            and self.rel_types is None
            and not self.not_rel_types
            and not self.asks_for_children()
        )

    def wants_none(self) -> bool:
        """Whether no event can pass, so that none need be looked for."""
        return (
            self.limit == 0
            or (self.types is not None and not self.types.patterns)
            or _NOTHING
            in (
                self.senders,
                self.rooms,
                self.rel_types,
                self.related_by_senders,
                self.related_by_rel_types,
            )
        )

    def wants_room(self, room_id: str) -> bool:
        """Whether events of the room are wanted."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)

    def wants(self, event_type: str, sender: str | None, content: Mapping[str, Any]) -> bool:
        """Whether an event may pass. Ephemeral events and account data have no sender (None).

        Of a room's events, those of other rooms than `wants_room` are left to the caller, who asks once for
        many; so are the children that `asks_for_children`.
        """
        if self.not_senders and sender in self.not_senders:
            return False
        if self.senders is not None and sender not in self.senders:
            return False
        if self.not_types is not None and self.not_types.matches(event_type):
            return False
        if self.types is not None and not self.types.matches(event_type):
            return False
        if self.contains_url is not None and self.contains_url != ("url" in content):
            return False
        return self._wants_relation(content)

    def _wants_relation(self, content: Mapping[str, Any]) -> bool:
        """Whether what the event relates to, if anything, is wanted by kind (MSC3874)."""
        if self.rel_types is None and not self.not_rel_types:
            return True
        relation = relation_of(content)
        rel_type = relation.rel_type if relation is not None else None
        if rel_type in self.not_rel_types:
            return False
        return self.rel_types is None or rel_type in self.rel_types

    def wants_event(self, event: "Event") -> bool:
        """`wants`, for an event of a room."""
        return self.wants(event.type, event.sender, event.content)

    def asks_for_children(self) -> bool:
        """Whether only events are wanted to which certain others relate."""
        return self.related_by_senders is not None or self.related_by_rel_types is not None

    def wants_parent_of(self, children: Iterable[tuple[str, str]]) -> bool:
        """Whether an event with these children, (rel_type, sender) each, is wanted: one must fit in both."""
        if not self.asks_for_children():
            return True
        return any(
            (self.related_by_rel_types is None or rel_type in self.related_by_rel_types)
            and (self.related_by_senders is None or sender in self.related_by_senders)
            for rel_type, sender in children
        )

    def limit_or(self, default: int) -> int:
        """How many events are wanted at most."""
        return default if self.limit is None else self.limit


EVERYTHING: Final = EventFilter()
"""The filter that says nothing."""


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """Which rooms are wanted, and which of their events."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    timeline: EventFilter = EVERYTHING
    state: EventFilter = EVERYTHING
    ephemeral: EventFilter = EVERYTHING
    account_data: EventFilter = EVERYTHING

    def wants_room(self, room_id: str) -> bool:
        """Whether anything of the room is wanted; the parts have lists of their own besides."""
        return room_id not in self.not_rooms and (self.rooms is None or room_id in self.rooms)


class FieldProjection:
    """The fields of events that a client wants to see."""

    __slots__ = ("_tree", "paths")

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = tuple(paths)
        self._tree: _Tree = {}
        for path in self.paths:
            _plant(self._tree, split_path(path))

    def project(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with only these fields; what a path leads to is kept whole."""
        return _pick(event, self._tree)


_Tree = dict[str, "_Tree | None"]


def _plant(tree: _Tree, names: tuple[str, ...]) -> None:
    for name in names[:-1]:
        branch = tree.setdefault(name, {})
        if branch is None:
            return  # a shorter path already asks for all that is there
        tree = branch
    tree[names[-1]] = None


def _pick(value: Mapping[str, Any], tree: _Tree) -> dict[str, Any]:
    picked: dict[str, Any] = {}
    for name, branch in tree.items():
        if name not in value:
            continue
        inner = value[name]
        if branch is None:
            picked[name] = inner
        elif isinstance(inner, Mapping) and (part := _pick(inner, branch)):
            picked[name] = part
    return picked


@dataclass(frozen=True, slots=True)
class Filter:
    """A whole filter.

    `definition` is what the client sent, unknown keys included. `event_fields` is None if whole events are
    wanted, `event_format` "client" or "federation".
    """

    definition: Mapping[str, Any] = field(default_factory=dict)
    event_fields: FieldProjection | None = None
    event_format: str = "client"
    presence: EventFilter = EVERYTHING
    account_data: EventFilter = EVERYTHING
    room: RoomFilter = RoomFilter()


NO_FILTER: Final = Filter()
"""What holds for a client that gives no filter."""
