"""Closing accounts for good.

Source: Client-Server API, "Account deactivation".
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from ranvier.accounts.sessions import end_all
from ranvier.protocol.refusal import Refusal
from ranvier.store import (
    account_data,
    accounts,
    cross_signing,
    filters,
    key_backup,
    presence,
    profiles,
    threepids,
)
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.log import EVERYONE, Kind
from ranvier.store.writer import Writer

_log = logging.getLogger("ranvier.accounts")
LeaveRoom = Callable[[str, str], Awaitable[object]]


class Closing:
    """Deactivates accounts. `leave_room` takes a user out of a room, or refuses an invite to it.

    Leaving all rooms may take long; it is noted in the store, and goes on after a restart.
    """

    def __init__(self, database: Database, writer: Writer, leave_room: LeaveRoom) -> None:
        self._database = database
        self._writer = writer
        self._leave_room = leave_room
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self, user_id: str, *, erase: bool) -> None:
        """Deactivate: no login, no devices, no keys, no addresses, no data; `erase` takes profile and backups too.

        Nobody can have the name again.
        """

        async def write(transaction: Transaction) -> None:
            await accounts.deactivate(transaction, user_id, erase)
            await threepids.remove_all(transaction, user_id)
            await end_all(transaction, user_id, kept_device=None)
            await cross_signing.delete_cross_signing_keys(transaction, user_id)
            await account_data.remove_all(transaction, user_id)
            await filters.remove_all(transaction, user_id)
            await presence.remove(transaction, user_id)
            if erase:
                await profiles.remove(transaction, user_id)
                await key_backup.delete_backups(transaction, user_id)
            transaction.announce(Entry(Kind.PROFILE, EVERYONE, user_id))

        await self._writer.run(write)
        self._depart(user_id)

    def _depart(self, user_id: str) -> None:
        task = asyncio.create_task(self._leave(user_id), name="leaving all rooms")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, user_id: str) -> None:
        try:
            for room_id in await accounts.rooms_to_leave(self._database, user_id):
                # A room that lets nobody go keeps no other from being left.
                with contextlib.suppress(Refusal):
                    await self._leave_room(user_id, room_id)
        except Exception:
            # It stays noted, and is tried again at the next start.
            _log.exception("a deactivated user could not leave all rooms", extra={"user_id": user_id})
            return
        await self._writer.run(lambda transaction: accounts.finish_departure(transaction, user_id))

    async def start(self) -> None:
        """Go on with what a former run did not finish."""
        for user_id in await accounts.departures(self._database):
            self._depart(user_id)

    async def stop(self) -> None:
        """Leave the rest for the next run."""
        for task in list(self._leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until_left(self) -> None:
        """Wait until all whose accounts were closed have left their rooms."""
        await asyncio.gather(*self._leaving)
