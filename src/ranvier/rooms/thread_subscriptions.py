"""Following threads (MSC4306): by the user's own wish, or by their client as they took part or were named."""

from typing import Final

from ranvier.protocol.refusal import Refusal, not_found
from ranvier.rooms.events import Events
from ranvier.rooms.history import History
from ranvier.store import thread_subscriptions as store
from ranvier.store.database import Database, Transaction
from ranvier.store.thread_subscriptions import Subscription
from ranvier.store.writer import Writer

NOT_IN_THREAD: Final = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"
CONFLICTING: Final = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"


class ThreadSubscriptions:
    """Begins and ends subscriptions. A thread is named by its root, which the user must be able to see."""

    def __init__(self, database: Database, writer: Writer, history: History, events: Events) -> None:
        self._database = database
        self._writer = writer
        self._history = history
        self._events = events

    async def of(self, user_id: str, room_id: str, thread: str) -> Subscription:
        """The user's subscription to a thread; M_NOT_FOUND if they don't follow it."""
        access, _ = await self._history.event(user_id, room_id, thread)
        found = await store.find(self._database, user_id, access.room.nid, thread)
        if found is None or found.unfollowed_at is not None:
            raise not_found("You don't follow this thread.")
        return found

    async def follow(self, user_id: str, room_id: str, thread: str) -> None:
        """Follow a thread because the user wants it."""
        access, _ = await self._history.event(user_id, room_id, thread)
        wanted = Subscription(automatic=False, unfollowed_at=None)
        await self._writer.run(lambda t: store.write(t, user_id, access.room.nid, thread, wanted))

    async def follow_for(self, user_id: str, room_id: str, thread: str, cause: str) -> None:
        """Follow a thread because of an event in it (`cause`).

        A user's own wish stays: to follow it, and not to follow it any more, unless the event came after that.
        """
        access, _ = await self._history.event(user_id, room_id, thread)
        room = access.room.nid
        try:
            _, seen = await self._history.event(user_id, room_id, cause)
        except Refusal:
            raise Refusal(NOT_IN_THREAD, "The event is not in this thread.", status=400) from None
        if await self._events.thread_of(seen.kept.event.content) != thread:
            raise Refusal(NOT_IN_THREAD, "The event is not in this thread.", status=400)

        async def write(transaction: Transaction) -> None:
            known = await store.find(transaction, user_id, room, thread)
            if known is not None and known.unfollowed_at is None:
                return
            if known is not None and seen.kept.timeline_version <= (known.unfollowed_at or 0):
                raise Refusal(
                    CONFLICTING,
                    "You left this thread after the event by which you would follow it.",
                    status=409,
                )
            await store.write(transaction, user_id, room, thread, Subscription(True, None))

        await self._writer.run(write)

    async def unfollow(self, user_id: str, room_id: str, thread: str) -> None:
        """Follow a thread no more; one that the user does not follow stays as it is."""
        access, _ = await self._history.event(user_id, room_id, thread)
        room, version = access.room.nid, access.head.version

        async def write(transaction: Transaction) -> None:
            known = await store.find(transaction, user_id, room, thread)
            if known is not None and known.unfollowed_at is None:
                await store.write(transaction, user_id, room, thread, known._replace(unfollowed_at=version))

        await self._writer.run(write)
