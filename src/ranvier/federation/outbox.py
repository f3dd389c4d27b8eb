"""The next transaction for a destination, from what is queued for it or from what it missed.

A transaction's id follows from what is in it and from where the destination stood, so that the same transaction has the
same id after a restart too, and another one never has it.
"""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, Final

import orjson

from ranvier.federation import edus
from ranvier.federation.catching_up import CatchingUp
from ranvier.federation.destinations import Destination, Destinations, DeviceNews, Transaction
from ranvier.federation.device_updates import USERS, DeviceUpdates
from ranvier.federation.edus import Edu
from ranvier.federation.portions import PDUS, RECEIPTS
from ranvier.rooms.receipts import Receipt
from ranvier.store import outgoing_to_device
from ranvier.store.database import Database
from ranvier.store.events import StoredEvent
from ranvier.store.outgoing_to_device import Waiting
from ranvier.store.sending import Lag

EDUS: Final = 100
"""Source: server-server API, "Transactions"."""
_RECEIPT_EDUS: Final = 10
_TYPING: Final = 10
_PRESENCE: Final = 50
_TO_DEVICE_BYTES: Final = 1024 * 1024
_HELD_BACK: Final = 20
"""Transactions in a row in which events wait for messages to devices."""


class Outbox:
    """Makes transactions. `now` is the time in milliseconds since the epoch."""

    def __init__(
        self,
        database: Database,
        catching_up: CatchingUp,
        device_updates: DeviceUpdates,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._catching_up = catching_up
        self._device_updates = device_updates
        self._now = now
        self._epoch = secrets.token_hex(8)
        self._moment = 0

    async def find_waiting(self, destinations: Destinations, portions: Collection[int]) -> None:
        """Note for which destinations of some portions messages to devices wait from before."""
        names = await outgoing_to_device.destinations(self._database)
        for destination in destinations.mine(names, portions):
            destination.to_device = True

    async def next(self, destination: Destination, routed: Callable[[], int]) -> Transaction | None:
        """What to send now; None if there is nothing. `routed` says up to where the log was looked at.

        It is the last of the destination's pending transactions from then on.
        """
        try:
            return await self._next(destination, routed)
        except BaseException:
            # What was taken from the queues is only in the log now.
            destination.fall_behind()
            raise
        finally:
            destination.building = False

    async def _next(self, destination: Destination, routed: Callable[[], int]) -> Transaction | None:
        while True:
            waiting = await self._waiting(destination)
            if not destination.behind:
                return await self._from_queues(destination, waiting, routed())
            made = await self._from_past(destination, waiting, routed())
            if made is not None:
                return made
            # Nothing on the stretch that was searched.
            if destination.done == routed() and destination.by_room is None and not destination.devices:
                destination.behind = False
                destination.devices_read_until = 0

    async def _waiting(self, destination: Destination) -> list[Waiting]:
        if not destination.to_device:
            return []
        # What is announced from here on sets it again.
        destination.to_device = False
        waiting = await outgoing_to_device.read(self._database, destination.name, EDUS)
        destination.to_device = destination.to_device or bool(waiting)
        return waiting

    async def _from_queues(
        self, destination: Destination, waiting: Sequence[Waiting], routed: int
    ) -> Transaction | None:
        if not destination.has_work:
            return None
        if not destination.is_open:
            destination.done, destination.done_ts = routed, self._now()
        destination.building = True
        now = self._now()
        devices = _take(destination.devices, USERS)
        receipts = [
            (room_id, receipt) for (room_id, _, _), (_, receipt) in _take_receipts(destination.receipts)
        ]
        momentary = _momentary(destination)
        pdus: list[StoredEvent] = []
        if not destination.devices and not self._holds_back(destination, waiting):
            pdus = [destination.pdus.popleft().kept for _ in range(min(PDUS, len(destination.pdus)))]
        first = destination.first_queued()
        lag = Lag(destination.name, routed if first is None else min(routed, first - 1), now)
        return await self._transaction(destination, lag, pdus, devices, receipts, waiting, momentary)

    async def _from_past(
        self, destination: Destination, waiting: Sequence[Waiting], until: int
    ) -> Transaction | None:
        """A transaction of what was missed; None if none of it was meant for the destination so far."""
        await self._catching_up.read_devices(destination, until)
        devices = _take(destination.devices, USERS)
        lag, pdus, receipts = destination.lag(), [], []
        if not destination.devices and not self._holds_back(destination, waiting):
            portion = await self._catching_up.gather(destination, until)
            lag, pdus = portion.lag, portion.pdus
            receipts = [(room_id, receipt) for (room_id, _, _), receipt in portion.receipts.items()]
        if not (pdus or receipts or devices or waiting):
            destination.take(lag)
            return None
        return await self._transaction(destination, lag, pdus, devices, receipts, waiting, [])

    def _holds_back(self, destination: Destination, waiting: Sequence[Waiting]) -> bool:
        """Whether events wait, as more messages to devices do than one transaction takes: they may bring the keys."""
        if len(waiting) < EDUS or destination.held_back >= _HELD_BACK:
            destination.held_back = 0
            return False
        destination.held_back += 1
        return True

    async def _transaction(
        self,
        destination: Destination,
        lag: Lag,
        pdus: Sequence[StoredEvent],
        devices: Mapping[str, DeviceNews],
        receipts: Sequence[tuple[str, Receipt]],
        waiting: Sequence[Waiting],
        momentary: Sequence[Edu],
    ) -> Transaction | None:
        lasting = await self._device_updates.edus(devices) if devices else []
        receipt_edus = edus.receipt_edus(receipts)
        place = None
        if not destination.devices:
            room = EDUS - len(lasting) - len(receipt_edus) - len(momentary)
            taken = _fitting(waiting, room)
            lasting += [orjson.loads(one.edu) for one in taken]
            place = taken[-1].place if taken else None
        lasting += receipt_edus
        if not (pdus or lasting or momentary):
            destination.take(lag)
            return None
        bodies = [kept.event.pdu for kept in pdus]
        names = [kept.event.event_id for kept in pdus]
        txn_id = self._name(destination, names, lasting, is_momentary=bool(momentary))
        made = Transaction(
            txn_id, self._now(), bodies, [*lasting, *momentary], lag, place, is_lasting=bool(pdus or lasting)
        )
        destination.pending.append(made)
        return made

    def _name(
        self,
        destination: Destination,
        event_ids: Sequence[str],
        lasting: Sequence[Edu],
        *,
        is_momentary: bool,
    ) -> str:
        said: list[Any] = [destination.name, destination.done, event_ids, lasting]
        if is_momentary:
            # Who types, stops, and types again says the same twice.
            self._moment += 1
            said += [self._epoch, self._moment]
        digest = sha256(orjson.dumps(said)).digest()
        return urlsafe_b64encode(digest[:18]).decode()


def _take(devices: dict[str, DeviceNews], most: int) -> dict[str, DeviceNews]:
    taken = dict(islice(devices.items(), most))
    for user in taken:
        del devices[user]
    return taken


Receipts = dict[tuple[str, str, str | None], tuple[int, Receipt]]


def _take_receipts(receipts: Receipts) -> Iterable[tuple[tuple[str, str, str | None], tuple[int, Receipt]]]:
    """As many as fit into few EDUs: one EDU holds one thread of a user and room."""
    taken: Receipts = {}
    threads: dict[tuple[str, str], int] = {}
    for key, found in receipts.items():
        if len(taken) == RECEIPTS:
            break
        count = threads[key[:2]] = threads.get(key[:2], 0) + 1
        if count <= _RECEIPT_EDUS:
            taken[key] = found
    for key in taken:
        del receipts[key]
    return taken.items()


def _momentary(destination: Destination) -> list[Edu]:
    """What is true now, taken from the queues."""
    found = []
    present = list(islice(destination.presence, _PRESENCE))
    if present:
        found.append(edus.presence_edu([destination.presence.pop(user) for user in present]))
    for room_id, user_id in list(islice(destination.typing, _TYPING)):
        typing = destination.typing.pop((room_id, user_id))
        found.append(edus.typing_edu(room_id, user_id, typing=typing))
    return found


def _fitting(waiting: Sequence[Waiting], most: int) -> list[Waiting]:
    taken: list[Waiting] = []
    size = 0
    for one in waiting[:most]:
        size += len(one.edu)
        if taken and size > _TO_DEVICE_BYTES:
            break
        taken.append(one)
    return taken
