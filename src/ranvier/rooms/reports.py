"""Complaints of users about events, rooms and other users, kept for the administrators.

Source: Client-Server API, "Reporting Content".
"""

from collections.abc import Callable
from typing import Final

from ranvier.protocol.identifiers import BadIdentifier, check_user_id
from ranvier.protocol.refusal import Refusal, invalid_param, not_found
from ranvier.rooms.access import is_joined
from ranvier.rooms.heads import Heads
from ranvier.rooms.history import History
from ranvier.store import accounts as accounts_store
from ranvier.store import presence as presence_store
from ranvier.store import reports as store
from ranvier.store.database import Database
from ranvier.store.reports import Report
from ranvier.store.writer import Writer

MAX_REASON: Final = 4096
"""Characters of a reason."""


class Reports:
    """Takes reports in."""

    def __init__(
        self, database: Database, writer: Writer, heads: Heads, history: History, now: Callable[[], int]
    ) -> None:
        self._database = database
        self._writer = writer
        self._heads = heads
        self._history = history
        self._now = now

    async def event(
        self, user_id: str, room_id: str, event_id: str, reason: str | None, score: int | None
    ) -> None:
        """Report an event that a member of its room sees."""
        access, _ = await self._history.event(user_id, room_id, event_id)
        if not access.is_current or not is_joined(access.head, user_id):
            raise not_found("You are not in that room.")
        report = Report(self._now(), user_id, room_id, event_id, reason=reason, score=score)
        await self._keep(report)

    async def room(self, user_id: str, room_id: str, reason: str) -> None:
        """Report a room, which one needn't be in."""
        if "\0" in room_id or await self._heads.get(room_id) is None:
            raise not_found(f"This server knows no room {room_id[:255]}.")
        await self._keep(Report(self._now(), user_id, room_id, reason=reason))

    async def user(self, user_id: str, target: str, reason: str) -> None:
        """Report a user of this server, or one of another who is in a room that this server knows."""
        try:
            check_user_id(target)
        except BadIdentifier as error:
            raise invalid_param(f"That is no user ID: {error}") from error
        is_known = await accounts_store.exists(self._database, target) or await presence_store.joined_rooms(
            self._database, [target]
        )
        if not is_known:
            raise not_found("This server knows no such user.")
        await self._keep(Report(self._now(), user_id, target_user_id=target, reason=reason))

    async def _keep(self, report: Report) -> None:
        if len(report.reason or "") > MAX_REASON:
            raise Refusal("M_TOO_LARGE", f"A reason has at most {MAX_REASON} characters.")
        await self._writer.run(lambda transaction: store.insert(transaction, report))
