"""The reverse proxy in front of a server without TLS of its own: it takes TLS off and passes bytes on."""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from pathlib import Path

_CHUNK = 65_536


class Terminator:
    """Listens with TLS on some sockets, and connects each connection to one plain address."""

    def __init__(self, certificate: Path, key: Path, target: tuple[str, int]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._target = target

    async def listen(self, sockets: Sequence[tuple[str, int]]) -> None:
        """Start; it listens until the loop ends."""
        for address, port in sockets:
            await asyncio.start_server(self._connect, address, port, ssl=self._context)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass(reader, behind_writer), _pass(behind_reader, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
