"""State resolution: one state out of those that branches of a room's history lead to.

A resolution is a step machine. It is asked for its next step and either gives the resolved state or says what
it has to know; whoever drives it fetches that, tells it, and asks again. So it needs no access to any store.
Where the states agree there is nothing to resolve, and `settle` answers at once, for every room version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ranvier.protocol.events import Event

StateMap = Mapping[tuple[str, str], str]
"""Event IDs by type and state key."""


@dataclass(frozen=True, slots=True)
class NeedEvents:
    """Tell these events with `tell_events`; those that nobody has are left out of the answer."""

    event_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class NeedAuthDifference:
    """Tell which events are in the full auth chain of some of these sets of events, but not of all.

    Source: room version 2, "Auth difference".
    """

    event_ids: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Resolved:
    """The outcome; the machine is done."""

    state: StateMap


Step = NeedEvents | NeedAuthDifference | Resolved


class Resolution(Protocol):
    """What an algorithm looks like to its driver. Its outcome does not depend on the order of the states."""

    def next_step(self) -> Step:
        """The outcome, or what has to be told first; the same again until it is told."""

    def tell_events(self, events: Mapping[str, Event]) -> None:
        """The answer to `NeedEvents`, by ID."""

    def tell_auth_difference(self, event_ids: frozenset[str]) -> None:
        """The answer to `NeedAuthDifference`."""


def settle(states: Sequence[StateMap]) -> StateMap | None:
    """The outcome where there is no conflict: no state, one, or several that are the same; else None."""
    if not states:
        return {}
    first = states[0]
    if all(state is first or state == first for state in states[1:]):
        return first
    return None


def conflicts(states: Sequence[StateMap]) -> frozenset[tuple[str, str]]:
    """Types and state keys on which the states differ, or that some of them lack."""
    keys = {key for state in states for key in state}
    return frozenset(key for key in keys if len({state.get(key) for state in states}) > 1)
