"""State resolution: one state out of those that branches of a room's history lead to.

A resolution is an iterator of steps. Each says what has to be known and has fields for the answer, which whoever
drives it sets before going on; the last is the outcome. So it needs no access to any store:

    for step in resolution(version, states):
        match step:
            case NeedEvents():
                step.events = await events_of(step.event_ids)
            ...
            case Resolved():
                return step.changes

The states are given without the keys on which all agree, and the outcome is what they lead to on the others: so
nothing takes time that follows the size of the room. Where the states agree on all there is nothing to resolve.
"""

from collections.abc import Sequence

from ranvier.protocol.room_versions import RoomVersion, StateResolution
from ranvier.protocol.state_resolution_steps import (
    Key,
    NeedAuthDifference,
    NeedConflictedSubgraph,
    NeedEvents,
    NeedState,
    Resolution,
    Resolved,
    StateMap,
    Step,
)
from ranvier.protocol.state_resolution_v1 import resolution_v1
from ranvier.protocol.state_resolution_v2 import resolution_v2

__all__ = [
    "Key",
    "NeedAuthDifference",
    "NeedConflictedSubgraph",
    "NeedEvents",
    "NeedState",
    "Resolution",
    "Resolved",
    "StateMap",
    "Step",
    "conflicts",
    "resolution",
    "without_agreement",
]


def resolution(version: RoomVersion, states: Sequence[StateMap]) -> Resolution:
    """The steps that resolve these states by the room version's algorithm.

    Keys on which all agree can be left out of the states; they are no part of the outcome.
    """
    differing = without_agreement(states)
    if not any(differing):
        return iter((Resolved({}),))
    if version.state_resolution is StateResolution.V1:
        return resolution_v1(differing)
    return resolution_v2(version, differing)


def without_agreement(states: Sequence[StateMap]) -> list[StateMap]:
    """The states with only the keys on which they differ."""
    keys = conflicts(states)
    return [{key: event_id for key, event_id in state.items() if key in keys} for state in states]


def conflicts(states: Sequence[StateMap]) -> frozenset[Key]:
    """Types and state keys on which the states differ, or that some of them lack."""
    if not states:
        return frozenset()
    first, *others = states
    keys = {key for state in others for key in state.keys() - first.keys()}
    keys.update(key for key, event_id in first.items() if any(state.get(key) != event_id for state in others))
    return frozenset(keys)
