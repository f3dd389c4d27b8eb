"""Messages to devices of other servers' users: they wait here until their server has them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ranvier.store.database import Database, Entry, Reader, Transaction
from ranvier.store.log import Kind, destination_audience

QUEUE = 10_000
"""EDUs that wait for one server at most."""


class Waiting(NamedTuple):
    """An EDU (JSON) and its place in its destination's queue."""

    place: int
    edu: str


async def write(transaction: Transaction, edus: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Queue EDUs (JSON) by destination and announce each; answers how many found a destination's queue full."""
    ends = await _ends(transaction, list(edus))
    rows: list[tuple[str, int, str]] = []
    refused = {}
    for destination, waiting in edus.items():
        first, last = ends.get(destination, (1, 0))
        taken = max(0, min(len(waiting), QUEUE - (last - first + 1)))
        if taken < len(waiting):
            refused[destination] = len(waiting) - taken
        rows += [(destination, last + 1 + number, edu) for number, edu in enumerate(waiting[:taken])]
    await transaction.insert("outgoing_to_device", "destination, place, edu", rows)
    for destination in dict.fromkeys(row[0] for row in rows):
        transaction.announce(Entry(Kind.OUTGOING_TO_DEVICE, destination_audience(destination), ""))
    return refused


async def read(database: Database, destination: str, limit: int) -> list[Waiting]:
    """The EDUs that wait for a destination, oldest first."""
    rows = await database.fetch(
        "SELECT place, edu FROM outgoing_to_device WHERE destination = $1 ORDER BY place LIMIT $2",
        destination,
        limit,
    )
    return [Waiting(*row) for row in rows]


async def acknowledge(transaction: Transaction, destination: str, place: int) -> None:
    """The destination has everything up to this place."""
    await transaction.execute(
        "DELETE FROM outgoing_to_device WHERE destination = $1 AND place <= $2", destination, place
    )


async def destinations(reader: Reader) -> list[str]:
    """All servers for which anything waits."""
    rows = await reader.fetch("SELECT DISTINCT destination FROM outgoing_to_device")
    return [row[0] for row in rows]


async def _ends(reader: Reader, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The first and last place of each destination's queue; those for which nothing waits are left out."""
    rows = await reader.fetch(
        "SELECT destination, MIN(place), MAX(place) FROM outgoing_to_device WHERE destination = ANY($1) "
        "GROUP BY destination",
        list(names),
    )
    return {row[0]: (row[1], row[2]) for row in rows}
