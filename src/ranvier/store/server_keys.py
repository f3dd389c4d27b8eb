"""Public keys of other servers, each with the document that it came in."""

from collections.abc import Sequence
from typing import NamedTuple

from ranvier.store.database import Reader, Transaction
from ranvier.store.tuples import slices, table_of


class ServerKeyRow(NamedTuple):
    """A key; `valid_until_ts` and `fetched_ts` in milliseconds, `document` the JSON that its server signed."""

    server_name: str
    key_id: str
    public: bytes
    valid_until_ts: int
    fetched_ts: int
    document: bytes


_COLUMNS = ", ".join(ServerKeyRow._fields)


async def read(reader: Reader, wanted: Sequence[tuple[str, str]]) -> list[ServerKeyRow]:
    """The keys of these servers and key IDs that are known."""
    found: list[ServerKeyRow] = []
    columns = ", ".join(f"k.{name}" for name in ServerKeyRow._fields)
    for part in slices(wanted):
        table, values = table_of(part, ("TEXT", "TEXT"))
        rows = await reader.fetch(
            f"WITH wanted (server_name, key_id) AS ({table}) "  # noqa: S608
            f"SELECT DISTINCT {columns} FROM wanted w "
            "JOIN server_keys k ON k.server_name = w.server_name AND k.key_id = w.key_id",
            *values,
        )
        found += [_row(row) for row in rows]
    return found


async def read_of(reader: Reader, server_name: str) -> list[ServerKeyRow]:
    """All keys of one server that are known."""
    rows = await reader.fetch(
        f"SELECT {_COLUMNS} FROM server_keys WHERE server_name = $1 ORDER BY key_id",  # noqa: S608
        server_name,
    )
    return [_row(row) for row in rows]


async def save(transaction: Transaction, rows: Sequence[ServerKeyRow]) -> None:
    """Keep keys; no two rows of one key. A document that was fetched later takes the place of an earlier one."""
    await transaction.insert(
        "server_keys",
        _COLUMNS,
        rows,
        "(server_name, key_id) DO UPDATE SET public = excluded.public, valid_until_ts = excluded.valid_until_ts, "
        "fetched_ts = excluded.fetched_ts, document = excluded.document "
        "WHERE excluded.fetched_ts >= server_keys.fetched_ts",
    )


def _row(row: Sequence[object]) -> ServerKeyRow:
    return ServerKeyRow(*row)  # type: ignore[arg-type]
