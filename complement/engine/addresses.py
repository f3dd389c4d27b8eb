"""Loopback addresses for containers, and ports at which the host reaches them."""

import secrets
import socket
from collections.abc import Iterator

HOST_ADDRESS = "127.0.0.1"
FIRST_PORT, LAST_PORT = 21_000, 31_999
"""Ports below those that systems give to outgoing connections (from 32,768 on), which could take them at any time."""


class Addresses:
    """Gives each container an address of its own in 127.N.0.0/16; N is drawn, so that two runs seldom meet."""

    def __init__(self) -> None:
        self._network = 64 + secrets.randbelow(180)
        self._numbers = iter(range(2, 65_000))
        self._ports = self._walk_ports()

    def next_address(self) -> str:
        """An address that nobody had before."""
        number = next(self._numbers)
        return f"127.{self._network}.{number >> 8}.{number & 255}"

    def next_port(self) -> int:
        """A port of the host that is free now and comes round last."""
        for _ in range(LAST_PORT - FIRST_PORT):
            port = next(self._ports)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST_ADDRESS, port))
                except OSError:
                    continue
                return port
        raise OSError(f"No port from {FIRST_PORT} to {LAST_PORT} is free.")

    def _walk_ports(self) -> Iterator[int]:
        count = LAST_PORT - FIRST_PORT + 1
        at = secrets.randbelow(count)
        while True:
            yield FIRST_PORT + at
            at = (at + 1) % count
