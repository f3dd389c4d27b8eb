"""Questions about auth chains, asked of the store's index."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Final

from ranvier.protocol.auth_chains import (
    AgreedIn,
    Found,
    Link,
    LinksFrom,
    LinksTo,
    Place,
    Step,
    auth_chain,
    auth_difference,
    conflicted_subgraph,
)
from ranvier.protocol.events import Event
from ranvier.store import auth_chains as store
from ranvier.store.database import Database, Reader, Row
from ranvier.store.state import Key

_MANY: Final = 500
"""Links from which on following them takes place in a thread."""
_UNWRITTEN: Final = -1
"""A chain of which the store has nothing."""


class Slowly:
    """A reader that never holds up the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect

    async def fetch(self, sql: str, *values: Any) -> Sequence[Row]:
        """All rows."""
        return await self._database.fetch_slowly(sql, *values)

    async def fetch_row(self, sql: str, *values: Any) -> Row | None:
        """The first row, if there is one."""
        rows = await self._database.fetch_slowly(sql, *values)
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or `None`."""
        row = await self.fetch_row(sql, *values)
        return row[0] if row is not None else None


Agreement = Callable[[Collection[Key]], Awaitable[dict[Key, int]]]
"""The events (numbers) that all of some states have for keys; those that they lack or differ on are left out."""


class AuthIndex:
    """Answers from the store; of an event that is not written yet it knows by what authorises it."""

    def __init__(self, reader: Reader, unwritten: Event | None = None) -> None:
        self._reader = reader
        self._unwritten = unwritten

    async def chain(self, event_ids: Collection[str]) -> list[str]:
        """The ids of the auth chain of state events; one of themselves only where another leads to it."""
        places = await store.places(self._reader, event_ids)
        return await self._answer(auth_chain(list(places.values())), _agree_on_nothing, ())

    async def difference(self, states: Sequence[Collection[str]], agreed: Agreement) -> frozenset[str]:
        """What is in the auth chains of some states, but not of all; the states without what all agree on."""
        places, links = await self._places({event_id for state in states for event_id in state})
        given = [[places[event_id] for event_id in state if event_id in places] for state in states]
        return frozenset(await self._answer(auth_difference(given), agreed, links))

    async def subgraph(self, conflicted: Collection[str]) -> frozenset[str]:
        """What is on paths along auth events between any two of the conflicted events."""
        places, links = await self._places(conflicted)
        steps = conflicted_subgraph(list(places.values()))
        found = frozenset(await self._answer(steps, _agree_on_nothing, links))
        return found | (places.keys() & set(conflicted))

    async def _places(self, event_ids: Collection[str]) -> tuple[dict[str, Place], Sequence[Link]]:
        event = self._unwritten
        if event is None or event.event_id not in event_ids:
            return await store.places(self._reader, event_ids), ()
        places = await store.places(self._reader, {*event_ids, *event.auth_events})
        # As if it began a chain of its own.
        own = Place(_UNWRITTEN, 1)
        links = [Link(*own, *places[auth_id]) for auth_id in event.auth_events if auth_id in places]
        found = {event_id: place for event_id, place in places.items() if event_id in event_ids}
        return {**found, event.event_id: own}, links

    async def _answer(self, steps: Iterator[Step], agreed: Agreement, more: Sequence[Link]) -> list[str]:
        step: Step
        size = 0
        while True:
            # Following many links takes long, and others must get their turn.
            step = await asyncio.to_thread(next, steps) if size > _MANY else next(steps)
            if isinstance(step, LinksFrom):
                step.links = await store.links_from(self._reader, step.chains)
                size = max(size, len(step.links))
                if _UNWRITTEN in step.chains:
                    step.links = [*step.links, *more]
            elif isinstance(step, LinksTo):
                step.links = [
                    link for page in step.pages for link in await store.links_to(self._reader, page)
                ]
            elif isinstance(step, AgreedIn):
                step.sequences = await self._agreed_in(step.chains, agreed)
            elif isinstance(step, Found):
                return await store.ids_within(self._reader, step.spans)

    async def _agreed_in(self, chains: Collection[int], agreed: Agreement) -> dict[int, int]:
        keys = await store.keys_of(self._reader, chains)
        nids = await agreed(set(keys.values()))
        places = await store.places_by_nid(self._reader, nids.values())
        found = {}
        for chain, key in keys.items():
            place = places.get(nids[key]) if key in nids else None
            if place is not None and place.chain == chain:
                found[chain] = place.sequence
        return found


async def _agree_on_nothing(keys: Collection[Key]) -> dict[Key, int]:
    return {}
