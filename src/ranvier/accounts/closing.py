"""Closing accounts for good.

Source: Client-Server API, "Account deactivation".
"""

import contextlib
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
    thread_subscriptions,
    threepids,
)
from ranvier.store.database import Database, Entry, Fence, Transaction
from ranvier.store.errands import Errands
from ranvier.store.log import EVERYONE, Kind
from ranvier.store.shares import Shares
from ranvier.store.writer import Writer

LeaveRoom = Callable[[str, str], Awaitable[object]]


class Closing:
    """Deactivates accounts. `leave_room` takes a user out of a room, or refuses an invite to it.

    Leaving all rooms may take long; it is noted in the store, and goes on after a restart, or in another process.
    """

    def __init__(self, database: Database, writer: Writer, leave_room: LeaveRoom, shares: Shares) -> None:
        self._database = database
        self._writer = writer
        self._leave_room = leave_room
        self._errands = Errands(shares, lambda: accounts.departures(database), self._leave)

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
            await thread_subscriptions.remove_all(transaction, user_id)
            if erase:
                await profiles.remove(transaction, user_id)
                await key_backup.delete_backups(transaction, user_id)
            transaction.announce(Entry(Kind.PROFILE, EVERYONE, user_id))

        await self._writer.run(write)
        self._errands.note(user_id)

    async def _leave(self, user_id: str, fence: Fence) -> None:
        for room_id in await accounts.rooms_to_leave(self._database, user_id):
            # A room that lets nobody go keeps no other from being left.
            with contextlib.suppress(Refusal):
                await self._leave_room(user_id, room_id)

        async def finish(transaction: Transaction) -> None:
            transaction.fence(fence)
            await accounts.finish_departure(transaction, user_id)

        await self._writer.run(finish)

    async def start(self) -> None:
        """Go on with what a former run did not finish."""
        await self._errands.start()

    async def stop(self) -> None:
        """Leave the rest to others, or for the next run."""
        await self._errands.stop()

    async def until_left(self) -> None:
        """Wait until all whose accounts were closed here have left their rooms."""
        await self._errands.until_done()
