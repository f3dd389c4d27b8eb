"""Run by the Python that has Synapse: its functions on what `bench.protocol` made. Reads one JSON object, writes one.

Figures are CPU seconds of one call, the least of several rounds.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Collection
from typing import Any

import synapse.event_auth  # noqa: F401 - else the imports below go round in a circle
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import verify_signed_json
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import check_event_content_hash
from synapse.event_auth import check_state_dependent_auth_rules
from synapse.events import make_event_from_dict
from synapse.events.utils import prune_event
from synapse.federation.federation_base import event_from_pdu_json
from synapse.state import v2
from synapse.storage.databases.main.event_federation import StateDifference
from unpaddedbase64 import decode_base64


def least(work: Callable[[], Any], number: int, rounds: int) -> float:
    figures = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(number):
            work()
        figures.append((time.process_time() - start) / number)
    return min(figures)


def authorise(case: dict[str, Any]) -> float:
    version = KNOWN_ROOM_VERSIONS[case["version"]]
    event = make_event_from_dict(case["event"], version)
    state = [make_event_from_dict(pdu, version) for pdu in case["state"]]
    return least(lambda: check_state_dependent_auth_rules(event, state), 2000, 7)


class Clock:
    async def sleep(self, duration: Any) -> None:
        pass


class Store:
    """What a resolution asks for, known beforehand."""

    def __init__(self, case: dict[str, Any]) -> None:
        version = KNOWN_ROOM_VERSIONS[case["version"]]
        self.events = {}
        for event_id, pdu in case["events"].items():
            event = make_event_from_dict(pdu, version)
            assert event.event_id == event_id
            self.events[event_id] = event
        self.difference = StateDifference(set(case["difference"]), set(case["subgraph"]))

    async def get_events(self, event_ids: Collection[str], allow_rejected: bool = False) -> dict[str, Any]:
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}

    async def get_auth_chain_difference(self, *_arguments: Any) -> StateDifference:
        return self.difference


def resolve(case: dict[str, Any]) -> tuple[float, list[list[str]]]:
    version = KNOWN_ROOM_VERSIONS[case["version"]]
    states = [{(type, key): event_id for type, key, event_id in state} for state in case["states"]]
    store = Store(case)
    resolved: list[Any] = []

    def work() -> None:
        resolved[:] = [
            asyncio.run(v2.resolve_events_with_store(Clock(), case["room_id"], version, states, None, store))
        ]

    seconds = least(work, 1, 5)
    first = states[0]
    return seconds, [[*key, id_] for key, id_ in resolved[0].items() if first.get(key) != id_]


def verify(case: dict[str, Any]) -> float:
    version = KNOWN_ROOM_VERSIONS["11"]
    keys = {
        name: decode_verify_key_bytes("ed25519:a", decode_base64(public))
        for name, public in case["keys"].items()
    }
    pdus = case["pdus"]

    def work() -> None:
        for pdu in pdus:
            event = event_from_pdu_json(dict(pdu), version)
            server = event.sender.partition(":")[2]
            verify_signed_json(prune_event(event).get_pdu_json(), server, keys[server])
            assert check_event_content_hash(event)
            assert event.event_id

    return least(work, 1, 5) / len(pdus)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    cases = json.load(sys.stdin)
    json.dump(
        {
            "authorise": {name: authorise(case) for name, case in cases["authorise"].items()},
            "resolve": {name: resolve(case) for name, case in cases["resolve"].items()},
            "verify": verify(cases["verify"]),
        },
        sys.stdout,
    )
