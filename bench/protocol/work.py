"""The work itself, by Ranvier's functions."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tests.protocol.resolving import Index, drive

from bench.protocol.rooms import Key, Room, ids
from ranvier.protocol import auth_rules, events, receipt_checks
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.room_versions import ROOM_VERSIONS
from ranvier.protocol.server_keys import VerifyKey
from ranvier.protocol.signing import SigningKey, verify
from ranvier.protocol.state_resolution import without_agreement
from ranvier.remote.verifying import Verifying


def least(work: Callable[[], Any], number: int, rounds: int = 7) -> float:
    """CPU seconds of one call, the least of several rounds of so many calls."""
    figures = []
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        for _ in range(number):
            work()
        figures.append((time.process_time() - start) / number)
    return min(figures)


def authorise(event: Event, state: Mapping[Key, Event]) -> float:
    """Seconds to authorise an event that the state allows."""
    assert auth_rules.check(event, state) is None
    return least(lambda: auth_rules.check(event, state), 20_000)


class Conflict:
    """Two branches of a room, and what a store would say of them: the keys that differ, and the auth chains' index."""

    def __init__(self, left: Room, right: Room) -> None:
        self.room = left
        self.states = [ids(left.state), ids(right.state)]
        self.index = Index()
        for event in left.events.values():
            self.index.add(event)
        self.cut = without_agreement(self.states)
        differing = self.cut[0].keys() | self.cut[1].keys()
        self.agreed = {key: id_ for key, id_ in self.states[0].items() if key not in differing}

    @property
    def keys(self) -> int:
        """On how many keys the branches differ."""
        return len(self.cut[0].keys() | self.cut[1].keys())

    def resolve(self) -> Mapping[Key, str | None]:
        """The resolution, questions of auth chains answered from the index in memory."""
        return drive(self.room.version, self.cut, self.agreed, self.room.events, self.index)

    def rows(self) -> int:
        """Rows of the index that one resolution reads."""
        self.index.told = 0
        self.resolve()
        return self.index.told

    def compare(self) -> float:
        """Seconds to find the differing keys of two whole states, which the store needn't do."""
        return least(lambda: without_agreement(self.states), 1, 3)


def check_pdus(pdus: Sequence[dict[str, Any]], keys: Mapping[str, SigningKey]) -> float:
    """Seconds to parse a PDU, check its form, name it, verify its signature and compare its hash."""
    version = ROOM_VERSIONS["11"]
    public = {name: {key.key_id: key.public} for name, key in keys.items()}

    def work() -> None:
        for pdu in pdus:
            event = receipt_checks.check_format(pdu, version)
            assert receipt_checks.check_signatures(event, public) is None
            assert receipt_checks.check_hash(event) is event

    return least(work, 1) / len(pdus)


def verify_signature(pdu: dict[str, Any], keys: Mapping[str, SigningKey]) -> float:
    """Seconds that the library takes for one signature: the part that no code of ours can make shorter."""
    event = events.parse(pdu, ROOM_VERSIONS["11"])
    ((name, by_key),) = pdu["signatures"].items()
    message, signature = events.signed_bytes(event), next(iter(by_key.values()))
    assert verify(keys[name].public, message, signature)
    return least(lambda: verify(keys[name].public, message, signature), 500)


class Keys:
    """A key ring that has all keys."""

    def __init__(self, keys: Mapping[str, SigningKey]) -> None:
        self._keys = {
            (name, key.key_id): VerifyKey(key.public, valid_until_ts=2**53) for name, key in keys.items()
        }

    async def keys(self, wanted: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], VerifyKey]:
        """Those that are wanted."""
        return {(name, key_id): self._keys[name, key_id] for name, key_id, _ in wanted}


async def check_in_bulk(
    pdus: Sequence[dict[str, Any]], keys: Mapping[str, SigningKey]
) -> tuple[float, float, list[float]]:
    """Seconds and CPU seconds of checking all at once, and by how much a task was late that wanted to run each 2 ms."""
    verifying = Verifying(Keys(keys))  # type: ignore[arg-type]
    lags: list[float] = []

    async def watch() -> None:
        while True:
            wanted = time.perf_counter() + 0.002
            await asyncio.sleep(0.002)
            lags.append(time.perf_counter() - wanted)

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    lags.clear()
    start, cpu = time.perf_counter(), time.process_time()
    outcomes = await verifying.check(pdus, ROOM_VERSIONS["11"])
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    watcher.cancel()
    verifying.stop()
    assert not any(isinstance(outcome, BadEvent) for outcome in outcomes)
    return seconds, cpu_seconds, sorted(lags)
