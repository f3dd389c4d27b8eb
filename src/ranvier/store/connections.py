"""Connections to PostgreSQL: opened when they are needed, never more than allowed, and opened anew when lost.

Between two transactions a connection holds no state of a session, so that it may as well lead through a pooler such as
PgBouncer in transaction mode.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg

from ranvier.store.database import Row, Unavailable

PATIENCE_SECONDS = 10.0
"""How long a query waits for a database that is being restarted."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_CLOSING_SECONDS = 5.0
TRIM_SECONDS = 60.0
"""How often connections are closed that were not needed since the last time."""
_STATEMENTS = 500
_RESERVING = 4
"""With this many connections or more, one is the writer's own: its statements are prepared once."""
_KEEP_ALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 25_000))
_GONE = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.InsufficientResourcesError,
    # What was the main database is a copy now: the next connection may find the one that took its place.
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
)


def is_gone(error: BaseException, connection: Any = None) -> bool:
    """Whether an error says that the database can't be reached now, rather than that something was asked wrongly."""
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError):
        return connection is None or bool(connection.is_closed())
    return isinstance(error, _GONE)


class Connections:
    """A pool of connections: the one that was used last is used first, so that no more are opened than are needed.

    `pooled` says that there is a pooler in between: two queries outside of a transaction may then reach two different
    sessions, so nothing is prepared, and LISTEN is not possible. (docs/decisions/0100-connections.md says why this is
    not the driver's own pool.)
    """

    def __init__(self, least: int, most: int, arguments: dict[str, Any]) -> None:
        self._least = least
        self._most = most
        self._arguments = arguments
        self._idle: list[Any] = []
        # Who waits is handed a connection, or None for the place of one, counted as opened.
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._own: Any = None
        self._own_is_free = most >= _RESERVING
        self._trimming: asyncio.TimerHandle | None = None
        self._unused = 0
        self.opened = 0
        self.pooled = False
        self.patience = PATIENCE_SECONDS

    @classmethod
    async def open(cls, least: int, most: int, arguments: dict[str, Any]) -> "Connections":
        """Look whether it can be reached; `arguments` are libpq's: host, port, user, password, database, ssl.

        At most `most` connections will be open, and once they were needed, `least` stay so.
        """
        connections = cls(least, most, arguments)
        first = await asyncpg.connect(statement_cache_size=0, timeout=PATIENCE_SECONDS, **arguments)
        try:
            connections.pooled = await _is_pooled(first)
        finally:
            await first.close()
        return connections

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """A connection for as long as the block lasts; raises `Unavailable` if there is none within the time."""
        connection = await self.take()
        try:
            yield connection
        except BaseException as error:
            self.give_back(connection, error)
            raise
        self.give_back(connection)

    @contextlib.asynccontextmanager
    async def acquire_writing(self) -> AsyncIterator[Any]:
        """A connection for a commit: the same one each time, where there are enough of them."""
        if not self._own_is_free:
            async with self.acquire() as connection:
                yield connection
            return
        self._own_is_free = False
        try:
            if self._own is not None and self._own.is_closed():
                lost, self._own = self._own, None
                self.give_back(lost)
            if self._own is None:
                self._own = await self.take()
            yield self._own
        except asyncio.CancelledError:
            # What was under way on it may still be answered.
            if self._own is not None:
                self._own.terminate()
            raise
        finally:
            self._own_is_free = True

    def lend(self) -> None:
        """Somebody keeps a connection of their own: it counts among those that are allowed."""
        self._most = max(self._most - 1, 1)

    async def take(self) -> Any:
        """A connection until it is given back; raises `Unavailable` if there is none within the time."""
        while self._idle:
            connection = self._idle.pop()
            self._unused = min(self._unused, len(self._idle))
            if not connection.is_closed():
                return connection
            self._lose()
        if self.opened < self._most:
            self.opened += 1
            return await self._connect()
        return await self._wait()

    async def _wait(self) -> Any:
        """For one that is given back, or for the place of one that was lost."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            connection = await asyncio.wait_for(future, self.patience)
        except (TimeoutError, asyncio.CancelledError) as error:
            if future.done() and not future.cancelled():
                # It was handed over in the same moment.
                self._hand_back(future.result())
            if isinstance(error, TimeoutError):
                raise Unavailable("all connections to the database are in use") from error
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(future)
        return connection if connection is not None else await self._connect()

    def _hand_on(self, connection: Any) -> bool:
        """Give a connection, or with None the place of one, to who has waited longest; False if nobody waits.

        Were they only told, whoever asks in the same turn of the loop would be served before them.
        """
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return True
        return False

    def _hand_back(self, connection: Any) -> None:
        if connection is None:
            self._lose()
        else:
            self.give_back(connection)

    async def _connect(self) -> Any:
        """A new one, in a place that is counted as opened."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    return await self._connect_once()
                except Exception as error:
                    if not is_gone(error):
                        raise
                    if loop.time() + pause > deadline:
                        raise Unavailable(f"the database can't be reached: {error}") from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        except BaseException:
            self._lose()
            raise

    async def _connect_once(self) -> Any:
        connection = await asyncpg.connect(
            timeout=self.patience, statement_cache_size=0 if self.pooled else _STATEMENTS, **self._arguments
        )
        _notice_silence(connection)
        if self._trimming is None and self.opened > self._least:
            self._unused = 0
            self._trimming = asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)
        return connection

    def _trim(self) -> None:
        """Close what was not needed since the last time, beyond the least number."""
        for connection in self._idle[: min(self._unused, self.opened - self._least)]:
            self._idle.remove(connection)
            connection.terminate()
            self._lose()
        self._unused = len(self._idle)
        self._trimming = None
        if self.opened > self._least:
            self._trimming = asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)

    def _lose(self) -> None:
        if not self._hand_on(None):
            self.opened -= 1

    def give_back(self, connection: Any, error: BaseException | None = None) -> None:
        """Let others use it; `error` is what ended its use."""
        if error is not None and not connection.is_closed():
            # Nobody knows what is still to be answered, or undone, on it.
            is_sound = isinstance(error, Exception) and not connection.is_in_transaction()
            if not is_sound:
                connection.terminate()
        if connection.is_closed():
            self._lose()
        elif not self._hand_on(connection):
            self._idle.append(connection)

    async def fetch(self, sql: str, values: Sequence[Any]) -> Sequence[Row]:
        """Rows of a query that changes nothing: asked again when a connection breaks."""
        loop = asyncio.get_running_loop()
        deadline = 0.0
        while True:
            connection = await self.take()
            try:
                if not self.pooled:
                    rows: Sequence[Row] = await connection.fetch(sql, *values)
                else:
                    async with connection.transaction():
                        rows = await connection.fetch(sql, *values)
            except BaseException as error:
                self.give_back(connection, error)
                if not is_gone(error, connection):
                    raise
                deadline = deadline or loop.time() + self.patience
                if loop.time() > deadline:
                    raise Unavailable(f"the database can't be reached: {error}") from error
            else:
                self.give_back(connection)
                return rows
            await asyncio.sleep(_FIRST_PAUSE)

    async def close(self) -> None:
        """Let go of all of them."""
        if self._trimming is not None:
            self._trimming.cancel()
        idle, self._idle = self._idle, []
        if self._own is not None:
            idle.append(self._own)
            self._own = None
        for connection in idle:
            self.opened -= 1
            with contextlib.suppress(Exception):
                await connection.close(timeout=_CLOSING_SECONDS)


async def _is_pooled(connection: Any) -> bool:
    """Whether a pooler answers in the place of PostgreSQL: it tells its clients a process id of its own making."""
    async with connection.transaction():
        return bool(await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid())


def _notice_silence(connection: Any) -> None:
    """Find out within half a minute when the other machine is gone without a word."""
    transport = getattr(connection, "_transport", None)
    opened = transport.get_extra_info("socket") if transport is not None else None
    if opened is None or opened.family not in (socket.AF_INET, socket.AF_INET6):
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
