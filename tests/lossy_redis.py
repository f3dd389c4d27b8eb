"""A line to Redis that loses half of the messages which are published, and can be cut."""

import asyncio
import contextlib
from random import Random


class LossyRedis:
    """Listens on `port`, and passes everything on to the Redis at `target`, but only `share` of the messages."""

    def __init__(self, target: int, random: Random, share: float = 0.5) -> None:
        self._target = target
        self._random = random
        self._share = share
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0
        self.lost = 0

    async def start(self) -> None:
        """Begin to pass on."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all lines."""
        assert self._server is not None
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        for work in (self._up(reader, to_redis), self._down(from_redis, writer)):
            task = asyncio.create_task(work)
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                if b"\r\nmessage\r\n" in frame[:40] and self._random.random() >= self._share:
                    self.lost += 1
                else:
                    writer.write(frame)
        writer.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    """One answer or message as Redis sends it, whole."""
    line = await reader.readuntil(b"\r\n")
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!" and int(rest) >= 0:
        return line + await reader.readexactly(int(rest) + 2)
    if kind in b"*>~%":
        for _ in range(max(int(rest), 0) * (2 if kind == b"%" else 1)):
            line += await _frame(reader)
    return line
