"""The first checks on events from elsewhere: format, signatures, content hash.

Source: server-server API, "Checks performed on receipt of a PDU" (1 to 3) and "Validating hashes and signatures on
received events".
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from ranvier.protocol import events
from ranvier.protocol.canonical_json import BadJson
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.room_versions import RoomVersion
from ranvier.protocol.server_keys import VerifyKey
from ranvier.protocol.signing import signatures_of, verify
from ranvier.remote.key_ring import Key, KeyRing, Wanted

_SLICE: Final = 32
"""Events that are checked in one piece: a few milliseconds of work."""
_KEYS_TRIED: Final = 5
"""Signatures of one server at one event that are looked at."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Unverifiable(BadEvent):
    """An event whose signer's keys can't be had now: what cannot be trusted today may be tomorrow."""


class Verifying:
    """Turns PDUs into events that may be trusted to be what their servers signed."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._key_ring = key_ring
        self._lanes = os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._lanes, "verifying")

    def stop(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def check(self, pdus: Sequence[Any], version: RoomVersion) -> list[Event | BadEvent]:
        """For each PDU its event, or why it must be dropped.

        An event whose content does not fit its hash comes back redacted: only that much of it may be used.
        """
        parsed = await self._in_slices(pdus, lambda pdu: _parse(pdu, version))
        wanted: dict[Wanted, None] = {}
        for event in parsed:
            if isinstance(event, Event):
                wanted |= dict.fromkeys(_wanted(event))
        keys = await self._key_ring.keys(wanted) if wanted else {}
        return await self._in_slices(parsed, lambda event: _verified(event, keys))

    async def is_signed_by(self, event: Event, server_name: str) -> bool:
        """Whether a server signed an event that it need not have signed."""
        ts = max(0, event.origin_server_ts) if event.room_version.enforces_key_validity else 0
        names = list(signatures_of(event.pdu, server_name))[:_KEYS_TRIED]
        keys = await self._key_ring.keys(dict.fromkeys((server_name, key_id, ts) for key_id in names))
        return _fault(event, server_name, events.signed_bytes(event), keys) is None

    async def _in_slices(self, items: Sequence[Item], work: Callable[[Item], Outcome]) -> list[Outcome]:
        """Few items at once, many in threads and in slices, so that requests get their turn.

        A batch has as many slices under way as there are threads, so one that comes later waits for no more.
        """
        if len(items) <= 2:
            return [work(item) for item in items]
        loop = asyncio.get_running_loop()
        slices = [items[start : start + _SLICE] for start in range(0, len(items), _SLICE)]
        outcomes: list[list[Outcome]] = [[] for _ in slices]
        waiting = iter(enumerate(slices))

        async def lane() -> None:
            for place, part in waiting:
                outcomes[place] = await loop.run_in_executor(self._threads, _each, work, part)

        async with asyncio.TaskGroup() as lanes:
            for _ in range(self._lanes):
                lanes.create_task(lane())
        return [outcome for part in outcomes for outcome in part]


def _each(work: Callable[[Item], Outcome], items: Sequence[Item]) -> list[Outcome]:
    return [work(item) for item in items]


def _parse(pdu: Any, version: RoomVersion) -> Event | BadEvent:
    try:
        event = events.parse(pdu, version)
        events.required_signers(event)
    except BadEvent as error:
        return error
    return event


def _wanted(event: Event) -> list[Wanted]:
    """The keys that may show that the event is its servers' own."""
    ts = max(0, event.origin_server_ts) if event.room_version.enforces_key_validity else 0
    return [
        (server_name, key_id, ts)
        for server_name in events.required_signers(event)
        for key_id in list(signatures_of(event.pdu, server_name))[:_KEYS_TRIED]
    ]


def _verified(event: Event | BadEvent, keys: Mapping[Key, VerifyKey]) -> Event | BadEvent:
    if isinstance(event, BadEvent):
        return event
    try:
        message = events.signed_bytes(event)
    except BadJson as error:
        return BadEvent(str(error))
    for server_name in sorted(events.required_signers(event)):
        fault = _fault(event, server_name, message, keys)
        if fault is not None:
            return fault
    return event if events.content_hash_matches(event) else events.redacted(event)


def _fault(event: Event, server_name: str, message: bytes, keys: Mapping[Key, VerifyKey]) -> BadEvent | None:
    """Why the event can't count as signed by the server; None if it is."""
    signatures = list(signatures_of(event.pdu, server_name).items())[:_KEYS_TRIED]
    if not signatures:
        return BadEvent(f"The event is not signed by {server_name}.", "M_FORBIDDEN")
    known = [(keys[server_name, key_id], sig) for key_id, sig in signatures if (server_name, key_id) in keys]
    if not known:
        return Unverifiable(f"The keys of {server_name} that signed the event can't be found.", "M_FORBIDDEN")
    if event.room_version.enforces_key_validity:
        known = [(key, sig) for key, sig in known if key.is_valid_at(event.origin_server_ts)]
        if not known:
            return Unverifiable(
                f"The keys of {server_name} that signed the event were not valid at its time.", "M_FORBIDDEN"
            )
    if not all(verify(key.public, message, signature) for key, signature in known):
        return BadEvent(f"The event's signature by {server_name} is false.", "M_FORBIDDEN")
    return None
