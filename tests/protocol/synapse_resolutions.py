"""Run by the Python that has Synapse: resolves the states that come in as lines of JSON, one history to a line.

Each line holds a room version, all events of the room, the IDs of those that were rejected, and lists of states
to be resolved. Each answer lists the resolved states, in the same form: [type, state key, event ID].
"""

import asyncio
import json
import logging
import sys
from collections.abc import Collection
from typing import Any

import synapse.event_auth  # noqa: F401 - else the imports below go round in a circle
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, StateResolutionVersions
from synapse.events import make_event_from_dict
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference


class Clock:
    async def sleep(self, duration: Any) -> None:
        pass


class Store:
    """The events of one room, and their auth chains by walking through them."""

    def __init__(self, events: dict[str, Any]) -> None:
        self.events = events
        self.chains: dict[str, set[str]] = {}

    async def get_events(self, event_ids: Collection[str], allow_rejected: bool = False) -> dict[str, Any]:
        return {
            event_id: self.events[event_id]
            for event_id in event_ids
            if event_id in self.events and (allow_rejected or self.events[event_id].rejected_reason is None)
        }

    async def get_auth_chain_difference(
        self,
        room_id: str,
        state_sets: list[set[str]],
        conflicted_state: set[str] | None,
        additional_backwards_reachable_conflicted_events: set[str] | None,
    ) -> StateDifference:
        chains = [set().union(*map(self.chain, state)) for state in state_sets]
        subgraph = None
        if conflicted_state is not None:
            leading = {id_ for start in conflicted_state for id_ in self.chain(start)}
            subgraph = {id_ for id_ in leading if self.chain(id_) & conflicted_state} | conflicted_state
        return StateDifference(set().union(*chains) - set.intersection(*chains), subgraph)

    def chain(self, event_id: str) -> set[str]:
        if event_id not in self.chains:
            chain: set[str] = set()
            for auth_id in self.events[event_id].auth_event_ids():
                chain |= {auth_id} | self.chain(auth_id)
            self.chains[event_id] = chain
        return self.chains[event_id]


async def resolve(version: Any, store: Store, states: list[dict[tuple[str, str], str]]) -> Any:
    room_id = next(iter(store.events.values())).room_id
    if version.state_res == StateResolutionVersions.V1:
        return await v1.resolve_events_with_store(room_id, version, states, None, store.get_events)
    return await v2.resolve_events_with_store(Clock(), room_id, version, states, None, store)


def answer(line: dict[str, Any]) -> list[list[list[str]]]:
    version = KNOWN_ROOM_VERSIONS[line["version"]]
    rejected = set(line["rejected"])
    events = {}
    for event_id, pdu in line["events"].items():
        reason = "rejected" if event_id in rejected else None
        events[event_id] = make_event_from_dict(pdu, version, rejected_reason=reason)
        assert events[event_id].event_id == event_id
    store = Store(events)
    answers = []
    for case in line["cases"]:
        states = [{(type, key): event_id for type, key, event_id in state} for state in case]
        resolved = asyncio.run(resolve(version, store, states))
        answers.append([[*key, event_id] for key, event_id in resolved.items()])
    return answers


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for text in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(text))) + "\n")
        sys.stdout.flush()
