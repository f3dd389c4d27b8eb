"""What a state resolution asks of whoever drives it, and its outcome."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ranvier.protocol.events import Event

Key = tuple[str, str]
"""(type, state_key)."""

StateMap = Mapping[Key, str]
"""Event IDs by type and state key."""


@dataclass(slots=True)
class NeedEvents:
    """Set `events` to these events by ID, as far as anybody has them; more may be told than is asked for.

    `rejected`: the IDs of those told that were rejected when they came in.
    """

    event_ids: frozenset[str]
    events: Mapping[str, Event] = field(default_factory=dict)
    rejected: Collection[str] = frozenset()


@dataclass(slots=True)
class NeedState:
    """Set `state` to the events that all states have for these keys; keys that they lack are left out.

    None of the keys is one on which the states differ.
    """

    keys: frozenset[Key]
    state: StateMap = field(default_factory=dict)


@dataclass(slots=True)
class NeedAuthDifference:
    """Set `event_ids` to the events in the full auth chains of some states, but not of all.

    `states` are the states' events without those on which all agree. What is in the auth chain of one of these is
    in all chains, so it is no part of the answer; see `auth_chains.auth_difference`.

    Source: room version 2, "Auth difference".
    """

    states: tuple[frozenset[str], ...]
    event_ids: frozenset[str] = frozenset()


@dataclass(slots=True)
class NeedConflictedSubgraph:
    """Set `event_ids` to those on paths along auth events between any two of `conflicted`, ends included.

    Source: room version 12, "Conflicted state subgraph"; see `auth_chains.conflicted_subgraph`.
    """

    conflicted: frozenset[str]
    event_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome: for each key on which the states differ its event, or None if it has none.

    It may also give events for keys that none of the states has. All else is as the states agree.
    """

    changes: Mapping[Key, str | None]


Step = NeedEvents | NeedState | NeedAuthDifference | NeedConflictedSubgraph | Resolved

Resolution = Iterator[Step]
"""Steps, of which the last one is `Resolved`. The outcome does not depend on the order of the states."""
