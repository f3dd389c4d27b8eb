"""The index of auth chains (`protocol.auth_chains` explains it): written with each state event, read by resolution."""

from collections.abc import Collection, Iterable, Sequence

from ranvier.protocol.auth_chains import PAGE, Link, Page, Place, Placing, Span
from ranvier.store.database import Reader, Transaction
from ranvier.store.events import StoredEvent
from ranvier.store.state import Key
from ranvier.store.tuples import slices, table_of

_FIRST = (2**63 - 1, 2**63 - 1)


async def insert(transaction: Transaction, events: Sequence[StoredEvent]) -> bool:
    """Give state events their places, auth events before what they authorise.

    False if another process has placed an event where one of these would be: then nothing here may be committed.
    """
    if not events:
        return True
    # A chain is numbered after the event that begins it.
    number = 0
    placing = Placing(lambda: number)
    await _know(transaction, placing, events)
    places, links = [], []
    for kept in events:
        number = kept.nid
        event = kept.event
        place, brought = placing.place(event.event_id, _key(kept), event.auth_events)
        places.append((kept.nid, *place))
        links += brought
    written = await transaction.insert("auth_places", "event, chain, sequence", places, "DO NOTHING")
    if links:
        await transaction.insert("auth_links", "chain, sequence, to_chain, to_sequence", links, "DO NOTHING")
    return written == len(places)


async def _know(transaction: Transaction, placing: Placing, events: Sequence[StoredEvent]) -> None:
    """Tell what is known of the auth events that stand already."""
    named = {event_id for kept in events for event_id in kept.event.auth_events}
    named -= {kept.event.event_id for kept in events}
    if not named:
        return
    keys = {_key(kept) for kept in events}
    rows = await transaction.fetch(
        "SELECT e.event_id, e.type, e.state_key, p.chain, p.sequence, "
        "(SELECT MAX(q.sequence) FROM auth_places q WHERE q.chain = p.chain) "
        "FROM events e JOIN auth_places p ON p.event = e.nid WHERE e.event_id = ANY($1)",
        sorted(named),
    )
    # Only where a chain goes on does it matter what it has linked to.
    chains = {row[3] for row in rows if (row[1], row[2]) in keys and row[4] == row[5]}
    linked: dict[int, dict[int, int]] = {chain: {} for chain in chains}
    if chains:
        for chain, to_chain, to_sequence in await transaction.fetch(
            "SELECT chain, to_chain, MAX(to_sequence) FROM auth_links WHERE chain = ANY($1) GROUP BY chain, to_chain",
            sorted(chains),
        ):
            linked[chain][to_chain] = to_sequence
    for event_id, kind, state_key, chain, sequence, newest in rows:
        placing.know(event_id, (kind, state_key), Place(chain, sequence), newest, linked.get(chain))


def _key(kept: StoredEvent) -> Key:
    return kept.event.type, kept.event.state_key or ""


async def places(reader: Reader, event_ids: Collection[str]) -> dict[str, Place]:
    """Where state events are, by id; what has no place is left out."""
    rows = await reader.fetch(
        "SELECT e.event_id, p.chain, p.sequence FROM events e JOIN auth_places p ON p.event = e.nid "
        "WHERE e.event_id = ANY($1)",
        sorted(event_ids),
    )
    return {row[0]: Place(row[1], row[2]) for row in rows}


async def links_from(reader: Reader, chains: Collection[int]) -> list[Link]:
    """All links from some chains."""
    rows = await reader.fetch(
        "SELECT chain, sequence, to_chain, to_sequence FROM auth_links WHERE chain = ANY($1)", sorted(chains)
    )
    return [Link(*row) for row in rows]


async def links_to(reader: Reader, page: Page) -> list[Link]:
    """A page of links to a chain."""
    rows = await reader.fetch(
        "SELECT chain, sequence, to_chain, to_sequence FROM auth_links "
        "WHERE to_chain = $1 AND to_sequence >= $2 AND (to_sequence, chain) < ($3, $4) "
        "ORDER BY to_sequence DESC, chain DESC LIMIT $5",
        page.to_chain,
        page.low,
        *(page.below or _FIRST),
        PAGE,
    )
    return [Link(*row) for row in rows]


async def keys_of(reader: Reader, chains: Iterable[int]) -> dict[int, Key]:
    """What each chain is about."""
    rows = await reader.fetch("SELECT nid, type, state_key FROM events WHERE nid = ANY($1)", sorted(chains))
    return {row[0]: (row[1], row[2]) for row in rows}


async def places_by_nid(reader: Reader, nids: Iterable[int]) -> dict[int, Place]:
    """Where state events are, by number."""
    rows = await reader.fetch(
        "SELECT event, chain, sequence FROM auth_places WHERE event = ANY($1)", sorted(nids)
    )
    return {row[0]: Place(row[1], row[2]) for row in rows}


async def ids_within(reader: Reader, spans: Sequence[Span]) -> list[str]:
    """The ids of the events of spans."""
    found: list[str] = []
    for part in slices(spans):
        table, values = table_of(part, ("BIGINT", "BIGINT", "BIGINT"))
        rows = await reader.fetch(
            f"WITH wanted(chain, first, last) AS ({table}) SELECT e.event_id "  # noqa: S608
            "FROM (SELECT DISTINCT chain, first, last FROM wanted) w JOIN auth_places p "
            "ON p.chain = w.chain AND p.sequence >= w.first AND p.sequence <= w.last "
            "JOIN events e ON e.nid = p.event",
            *values,
        )
        found += [row[0] for row in rows]
    return found
