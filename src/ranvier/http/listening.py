"""Sockets that listen, and the connections that came from them."""

import asyncio
import errno
import resource
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from ranvier.http.certificate import Certificate
from ranvier.http.connection import Answer, Connection, Connections

_BACKLOG = 2048
_SWEEP_SECONDS = 5
_HANDSHAKE_SECONDS = 20.0
_FILES_KEPT = 256
"""File descriptors that connections leave to the database, media and logs."""


class AddressTaken(Exception):
    """A socket can't be opened; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP port on one host, or a Unix socket; port 0 takes a free one."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def open(self) -> socket.socket:
        """A bound socket, which does not listen yet; raises `AddressTaken`."""
        try:
            return self._open_unix(self.path) if self.path is not None else self._open_tcp()
        except OSError as error:
            raise AddressTaken(f"{self} can't be opened: {error.strerror}. {_cure(error)}") from error

    def _open_tcp(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.bind((self.host, self.port))
        except OSError:
            opened.close()
            raise
        return opened

    @staticmethod
    def _open_unix(path: Path) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if path.is_socket() and opened.connect_ex(str(path)) != 0:
                # What a process left that did not end in order.
                path.unlink()
                opened.close()
                opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            opened.bind(str(path))
            path.chmod(0o666)
        except OSError:
            opened.close()
            raise
        return opened

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def open_all(addresses: Iterable[Address]) -> list[socket.socket]:
    """Bound sockets for all; raises `AddressTaken`, and then none is open."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(address.open())
    except AddressTaken:
        for opened in sockets:
            opened.close()
        raise
    return sockets


class Listening:
    """What answers requests, on its sockets. `start`, then `stop_accepting`, then `drain`.

    With a certificate it speaks TLS, and looks now and then whether its files changed. Sockets that were opened
    already, one for each address, may be given to it: they are another process's, too.
    """

    def __init__(
        self,
        answer: Answer,
        addresses: Iterable[Address],
        certificate: Certificate | None = None,
        opened: Sequence[socket.socket] | None = None,
    ) -> None:
        self._addresses = list(addresses)
        self._certificate = certificate
        self._opened = opened
        self._connections = Connections(answer, _raise_file_limit() - _FILES_KEPT)
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self.bound: list[Address] = []
        """Where it listens, with the ports that were chosen."""

    async def start(self) -> None:
        """Open all sockets and answer; raises `AddressTaken`."""
        sockets = self._opened if self._opened is not None else open_all(self._addresses)
        self._tick()
        loop = asyncio.get_running_loop()
        for address, opened in zip(self._addresses, sockets, strict=True):
            name = opened.getsockname()
            self.bound.append(address if address.path is not None else Address(name[0], name[1]))
            self._servers.append(
                await loop.create_server(
                    lambda: Connection(self._connections),
                    sock=opened,
                    backlog=_BACKLOG,
                    ssl=self._certificate.context if self._certificate is not None else None,
                    ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._certificate is not None else None,
                )
            )
        self._sweeper = asyncio.create_task(self._watch(), name="connections")

    async def _watch(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(1)
            self._tick()
            beat += 1
            if beat % _SWEEP_SECONDS == 0:
                self.sweep(asyncio.get_running_loop().time())
                if self._certificate is not None:
                    self._certificate.reload_if_changed()

    @property
    def speaks_tls(self) -> bool:
        """Whether clients must speak TLS with it."""
        return self._certificate is not None

    def _tick(self) -> None:
        self._connections.date = f"date: {formatdate(usegmt=True)}\r\n".encode()

    def sweep(self, now: float) -> None:
        """Close the connections whose clients are too slow; `now` is the loop's time."""
        for connection in list(self._connections.open):
            if connection.is_overdue(now):
                connection.abort()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections.open)

    def stop_accepting(self) -> None:
        """Take no more connections; close those that ask for nothing, and the others after their answer."""
        self._close()
        for connection in list(self._connections.open):
            connection.end()

    async def retire(self, seconds: float) -> None:
        """Leave new connections to another process, and those that are open until they had one more answer.

        Clients whose connection closes while they send would see a failure; they have so long to learn that it ends.
        """
        self._close()
        self._connections.is_ending = True
        for connection in list(self._connections.open):
            connection.end_with_next_answer()
        for _ in range(int(seconds * 20)):
            if not self._connections.open:
                return
            await asyncio.sleep(0.05)

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        if self._opened is not None:
            return
        for address in self.bound:
            if address.path is not None:
                with suppress(FileNotFoundError):
                    address.path.unlink()

    async def drain(self, seconds: float) -> bool:
        """Wait until every request is answered, for so long at most, then give up; answers whether all were."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = set(self._connections.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        unanswered = [task for task in self._connections.tasks if not task.done()]
        for task in unanswered:
            task.cancel()
        if unanswered:
            await asyncio.wait(unanswered, timeout=1)
        # What is still in the sockets' buffers goes out before the connections close.
        for _ in range(int(seconds * 100)):
            if not self._connections.open:
                break
            for connection in list(self._connections.open):
                connection.end()
            await asyncio.sleep(0.01)
        for connection in list(self._connections.open):
            connection.abort()
        return not unanswered


def _cure(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            "Another server is there already; `listeners` in the configuration says where this one listens."
        )
    if error.errno == errno.EACCES:
        return "Ports below 1024 need a privilege: take another one in `listeners`, behind a reverse proxy."
    return "`listeners` in the configuration must name addresses of this machine."


def _raise_file_limit() -> int:
    """Let the process open as many files as the system allows it to; answers how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 65_536)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(soft, 2 * _FILES_KEPT)
