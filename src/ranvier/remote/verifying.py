"""The first checks on events from elsewhere: format, signatures, content hash.

Source: server-server API, "Checks performed on receipt of a PDU" (1 to 3) and "Validating hashes and signatures on
received events".
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from ranvier.protocol import events
from ranvier.protocol.canonical_json import BadJson
from ranvier.protocol.events import BadEvent, Event
from ranvier.protocol.room_versions import RoomVersion
from ranvier.protocol.server_keys import VerifyKey
from ranvier.protocol.signing import signatures_of, verify
from ranvier.remote.key_ring import Key, KeyRing

_SLICE: Final = 32
"""Events that are checked in one piece: a few milliseconds of work."""
_KEYS_TRIED: Final = 5
"""Signatures of one server at one event that are looked at."""

_FEW: Final = 2
"""Events that are checked at once, without a thread."""

Slice = TypeVar("Slice", bound=Sequence[Any])
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
        parts = await self._in_slices(_cut(pdus), lambda part: _parse(part, version))
        wanted: dict[Key, int] = {}
        for part in parts:
            for key, ts in part.wanted.items():
                wanted[key] = max(ts, wanted.get(key, 0))
        keys = await self._key_ring.keys([(*key, ts) for key, ts in wanted.items()]) if wanted else {}
        checked = await self._in_slices(
            [part.events for part in parts], lambda events: [_verified(event, keys) for event in events]
        )
        return [outcome for part in checked for outcome in part]

    async def is_signed_by(self, event: Event, server_name: str) -> bool:
        """Whether a server signed an event that it need not have signed."""
        ts = max(0, event.origin_server_ts) if event.room_version.enforces_key_validity else 0
        names = list(signatures_of(event.pdu, server_name))[:_KEYS_TRIED]
        keys = await self._key_ring.keys(dict.fromkeys((server_name, key_id, ts) for key_id in names))
        return _fault(event, server_name, events.signed_bytes(event), keys) is None

    async def _in_slices(self, slices: Sequence[Slice], work: Callable[[Slice], Outcome]) -> list[Outcome]:
        """A single slice of few at once, others in threads, so that requests get their turn.

        A batch has as many slices under way as there are threads, so one that comes later waits for no more.
        """
        if len(slices) == 1 and len(slices[0]) <= _FEW:
            return [work(slices[0])]
        loop = asyncio.get_running_loop()
        outcomes: dict[int, Outcome] = {}
        waiting = iter(enumerate(slices))

        async def lane() -> None:
            for place, part in waiting:
                outcomes[place] = await loop.run_in_executor(self._threads, work, part)

        async with asyncio.TaskGroup() as lanes:
            for _ in range(self._lanes):
                lanes.create_task(lane())
        return [outcomes[place] for place in range(len(slices))]


class _Parsed(NamedTuple):
    """Events of a slice, and the keys that may show that they are their servers' own: each with the latest moment
    (milliseconds) at which it must be valid, 0 where that is all the same.
    """

    events: list[Event | BadEvent]
    wanted: dict[Key, int]


def _cut(pdus: Sequence[Any]) -> list[Sequence[Any]]:
    return [pdus[start : start + _SLICE] for start in range(0, len(pdus), _SLICE)]


def _parse(pdus: Sequence[Any], version: RoomVersion) -> _Parsed:
    parsed = _Parsed([], {})
    for pdu in pdus:
        try:
            event = events.parse(pdu, version)
            signers = events.required_signers(event)
        except BadEvent as error:
            parsed.events.append(error)
            continue
        parsed.events.append(event)
        ts = max(0, event.origin_server_ts) if version.enforces_key_validity else 0
        for server_name in signers:
            for key_id in list(signatures_of(event.pdu, server_name))[:_KEYS_TRIED]:
                key = (server_name, key_id)
                parsed.wanted[key] = max(ts, parsed.wanted.get(key, 0))
    return parsed


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
