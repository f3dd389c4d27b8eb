"""The index of messages' words, kept up with the log."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from ranvier.rooms.events import Events
from ranvier.rooms.following import Write, events_of
from ranvier.store import search as store
from ranvier.store.database import Database, Entry, Transaction
from ranvier.store.events import StoredEvent
from ranvier.store.log import Kind
from ranvier.store.search import Text

KEYS: Final = ("content.body", "content.name", "content.topic")
"""Where a text may stand."""
_FIELDS: Final = {"m.room.message": "body", "m.room.name": "name", "m.room.topic": "topic"}
_PORTION: Final = 200


class MessageIndex:
    """Makes what was said, and rooms' names and topics, findable; what is redacted is found no more."""

    name = "search"

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    async def all(self) -> AsyncIterator[Write]:
        """Everything that is there, in portions."""
        yield store.clear
        last = 0
        while nids := await store.texts_after(self._database, last, _PORTION):
            events = await self._events.by_nids(nids)
            last = nids[-1]
            yield _writing(_texts(events.values()), ())

    async def take(self, entries: Sequence[Entry]) -> Sequence[Write]:
        """The texts of new events, and what was redacted."""
        texts = _texts(await events_of(self._database, self._events, entries))
        redacted = [int(entry.ref) for entry in entries if entry.kind == Kind.REDACTION]
        return [_writing(texts, redacted)] if texts or redacted else []


def text_of(kept: StoredEvent) -> tuple[str, str] | None:
    """The text of an event that may be looked for, after its key."""
    field = _FIELDS.get(kept.event.type)
    if field is None or kept.redacted_by is not None:
        return None
    text = kept.event.content.get(field)
    return (f"content.{field}", text) if isinstance(text, str) and text else None


def _texts(events: Iterable[StoredEvent]) -> list[Text]:
    found = []
    for kept in events:
        text = text_of(kept)
        if text is not None:
            found.append(Text(kept.nid, kept.room, text[0], kept.event.origin_server_ts, text[1]))
    return found


def _writing(texts: Sequence[Text], redacted: Sequence[int]) -> Write:
    async def write(transaction: Transaction) -> None:
        await store.add(transaction, texts)
        if redacted:
            await store.remove(transaction, redacted)

    return write
