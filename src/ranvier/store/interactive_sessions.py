"""Sessions of interactive authentication that are under way."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from ranvier.store import registration_tokens
from ranvier.store.database import Reader, Transaction

_COLUMNS = "hash, operation, user_id, parameters, flows, completed, registration_token, created_ts"


@dataclass(frozen=True, slots=True)
class InteractiveSession:
    """One session. `parameters` are sealed; `user_id` is empty where nobody is logged in."""

    hash: bytes
    operation: str
    user_id: str
    parameters: bytes
    flows: tuple[tuple[str, ...], ...]
    completed: tuple[str, ...]
    registration_token: str | None
    created_ts: int


async def find(reader: Reader, digest: bytes, oldest: int) -> InteractiveSession | None:
    """The session with that hash, unless it began before `oldest`."""
    row = await reader.fetch_row(
        f"SELECT {_COLUMNS} FROM interactive_sessions WHERE hash = $1 AND created_ts >= $2",  # noqa: S608
        digest,
        oldest,
    )
    if row is None:
        return None
    flows = tuple(map(tuple, orjson.loads(row[4])))
    completed = tuple(orjson.loads(row[5]))
    return InteractiveSession(bytes(row[0]), row[1], row[2], bytes(row[3]), flows, completed, row[6], row[7])


async def write(transaction: Transaction, session: InteractiveSession) -> None:
    """Keep the session as it now is."""
    row = (
        session.hash,
        session.operation,
        session.user_id,
        session.parameters,
        orjson.dumps(session.flows).decode(),
        orjson.dumps(session.completed).decode(),
        session.registration_token,
        session.created_ts,
    )
    await transaction.insert(
        "interactive_sessions",
        _COLUMNS,
        [row],
        "(hash) DO UPDATE SET parameters = excluded.parameters, flows = excluded.flows, "
        "completed = excluded.completed, registration_token = excluded.registration_token",
    )


async def remove(transaction: Transaction, digest: bytes) -> bool:
    """The session has served; answers whether it was there."""
    return await transaction.execute("DELETE FROM interactive_sessions WHERE hash = $1", digest) > 0


async def trim(transaction: Transaction, oldest: int, most: int) -> None:
    """Forget the sessions that began before `oldest`, and of the rest all but the newest `most`."""
    kept_from = await transaction.fetch_value(
        "SELECT created_ts FROM interactive_sessions ORDER BY created_ts DESC LIMIT 1 OFFSET $1", most
    )
    before = max(oldest, kept_from + 1) if kept_from is not None else oldest
    tokens = await transaction.fetch(
        "SELECT registration_token FROM interactive_sessions "
        "WHERE created_ts < $1 AND registration_token IS NOT NULL",
        before,
    )
    await _release(transaction, [row[0] for row in tokens])
    await transaction.execute("DELETE FROM interactive_sessions WHERE created_ts < $1", before)


async def _release(transaction: Transaction, tokens: Sequence[str]) -> None:
    for token in tokens:
        await registration_tokens.release(transaction, token, completed=False)
