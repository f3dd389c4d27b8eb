"""Name resolution inside containers: a hosts file for each, and a name server for resolvers that read no hosts file."""

import asyncio
import struct
from collections.abc import Callable, Mapping
from typing import Any, cast

_A, _ANY, _CLASS_IN = 1, 255, 1
_NO_ERROR, _FORMAT_ERROR, _NAME_ERROR = 0, 1, 3
_HEADER = struct.Struct(">6H")


class BadQuery(ValueError):
    """A datagram that is no question."""


def hosts_file(names: Mapping[str, str]) -> str:
    """The text of /etc/hosts for these names."""
    rows = [
        ("127.0.0.1", "localhost"),
        ("::1", "localhost"),
        *((address, name) for name, address in names.items()),
    ]
    return "".join(f"{address}\t{name}\n" for address, name in rows)


def answer(query: bytes, names: Mapping[str, str]) -> bytes:
    """The answer to one DNS query: addresses for known names, nothing else for them, NXDOMAIN for all others.

    So a look-up of SRV records ends at once, instead of leaving the machine. Raises BadQuery.
    """
    if len(query) < _HEADER.size:
        raise BadQuery("shorter than a header")
    number, flags, questions, *_ = _HEADER.unpack_from(query)
    if questions != 1 or flags & 0x8000:
        raise BadQuery("not one question")
    name, end = _read_name(query)
    if end + 4 > len(query):
        raise BadQuery("cut off")
    kind, of_class = struct.unpack_from(">HH", query, end)
    address = names.get(name)
    found = address is not None and kind in {_A, _ANY} and of_class == _CLASS_IN
    code = _NAME_ERROR if address is None else _NO_ERROR
    # A response, authoritative, with recursion desired as asked and recursion available.
    header = _HEADER.pack(number, 0x8480 | (flags & 0x0100) | code, 1, int(found), 0, 0)
    record = b""
    if found and address is not None:
        packed = bytes(int(part) for part in address.split("."))
        record = struct.pack(">HHHLH", 0xC00C, _A, _CLASS_IN, 5, 4) + packed
    return header + query[_HEADER.size : end + 4] + record


def _read_name(query: bytes) -> tuple[str, int]:
    at, labels = _HEADER.size, list[str]()
    while True:
        if at >= len(query) or query[at] > 63:
            raise BadQuery("no name")
        length = query[at]
        at += 1
        if length == 0:
            return ".".join(labels).lower(), at
        labels.append(query[at : at + length].decode("ascii", "replace"))
        at += length


class NameServer(asyncio.DatagramProtocol):
    """Answers one container, at that container's own address, by what its network knows at the time."""

    def __init__(self, names: Callable[[], Mapping[str, str]]) -> None:
        self._names = names
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Listening."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """One query."""
        try:
            found = answer(data, self._names())
        except BadQuery:
            return
        if self._transport is not None:
            self._transport.sendto(found, addr)
