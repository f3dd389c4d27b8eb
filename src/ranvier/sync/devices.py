"""What sync tells a device about itself: counts of its keys, and messages that wait for it."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from ranvier.store import one_time_keys, to_device
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import Kind, device_audience
from ranvier.store.writer import Writer

MESSAGES = 100
"""Messages to a device that one answer takes."""
_DEVICES = 20_000


@dataclass(slots=True)
class _Known:
    """What is certain of a device until the log says otherwise."""

    keys: bytes | None = None
    empty: bool = False


class Devices:
    """Reads for devices, remembered until the log tells of a change."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def _of(self, audience: str) -> _Known:
        known = self._known.get(audience)
        if known is None:
            known = self._known[audience] = _Known()
            if len(self._known) > _DEVICES:
                self._known.popitem(last=False)
        return known

    async def keys(self, user_id: str, device_id: str) -> bytes:
        """The counts of one-time keys and the unused fallback keys, as the answer's members."""
        known = self._of(device_audience(user_id, device_id))
        if known.keys is None:
            counts = await one_time_keys.one_time_key_counts(self._database, user_id, device_id)
            unused = await one_time_keys.unused_fallback_key_types(self._database, user_id, device_id)
            known.keys = b'"device_one_time_keys_count":%b,"device_unused_fallback_key_types":%b' % (
                orjson.dumps(counts),
                orjson.dumps(unused),
            )
        return known.keys

    async def messages(self, user_id: str, device_id: str, after: int, until: int) -> tuple[list[bytes], int]:
        """Messages that wait, and the position up to which they were given."""
        known = self._of(device_audience(user_id, device_id))
        if known.empty:
            return [], until
        found = await to_device.read_to_device(self._database, user_id, device_id, after, until, MESSAGES)
        given = found[-1].position if len(found) == MESSAGES else until
        return [message.message.encode() for message in found], given

    async def acknowledge(self, user_id: str, device_id: str, until: int) -> None:
        """The device has what came up to a position: it need not wait any longer."""
        audience = device_audience(user_id, device_id)
        known = self._of(audience)
        if known.empty:
            return
        if await to_device.waits(self._database, user_id, device_id):

            async def write(transaction: Transaction) -> None:
                await to_device.acknowledge(transaction, user_id, device_id, until)

            await self._writer.run(write)
        elif self._known.get(audience) is known:
            known.empty = True

    def heard(self, entries: Sequence[Entry]) -> None:
        """Follow the log."""
        for entry in entries:
            if entry.kind in (Kind.ONE_TIME_KEYS, Kind.TO_DEVICE):
                self._known.pop(entry.audience, None)
