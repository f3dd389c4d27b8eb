"""A name server for tests: real DNS over UDP, with what the tests put into it, and nothing else."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections import Counter

A, CNAME, AAAA, SRV = 1, 5, 28, 33
_NXDOMAIN, _SERVFAIL = 3, 2


class NameServer(asyncio.DatagramProtocol):
    """Answers from its records: `host("a.test", "127.0.0.1")`, `service("_matrix-fed._tcp.a.test", 8448, "b.test")`.

    `asked` counts questions by name; names in `broken` get SERVFAIL, those in `silent` no answer at all.
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[bytes]] = {}
        self.asked: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.silent: set[str] = set()
        self.ttl = 300

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))

    def stop(self) -> None:
        self._transport.close()

    @property
    def address(self) -> str:
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def host(self, name: str, *addresses: str) -> None:
        """Where a host is, in place of where it was."""
        self.records.pop((name, A), None)
        self.records.pop((name, AAAA), None)
        for address in addresses:
            packed = ipaddress.ip_address(address).packed
            self.records.setdefault((name, A if len(packed) == 4 else AAAA), []).append(packed)

    def alias(self, name: str, target: str) -> None:
        self.records[name, CNAME] = [_name(target)]

    def service(self, name: str, port: int, target: str, priority: int = 10, weight: int = 0) -> None:
        """One more service record."""
        data = struct.pack(">HHH", priority, weight, port) + _name(target)
        self.records.setdefault((name, SRV), []).append(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, end = _read_name(data, 12)
        [kind] = struct.unpack_from(">H", data, end)
        self.asked[name] += 1
        if name in self.silent:
            return
        question = data[12 : end + 4]
        found, owner = [], name
        while (owner, CNAME) in self.records and kind != CNAME:
            [target] = self.records[owner, CNAME]
            found.append(_record(owner, CNAME, self.ttl, target))
            owner = _read_name(target, 0)[0]
        found += [_record(owner, kind, self.ttl, value) for value in self.records.get((owner, kind), [])]
        is_known = any(known == owner for known, _ in self.records) or bool(found)
        code = _SERVFAIL if name in self.broken else 0 if is_known else _NXDOMAIN
        found = [] if code else found
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0)
        self._transport.sendto(head + question + b"".join(found), addr)


def _name(name: str) -> bytes:
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _read_name(data: bytes, position: int) -> tuple[str, int]:
    labels = []
    while length := data[position]:
        labels.append(data[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return ".".join(labels).lower(), position + 1


def _record(name: str, kind: int, ttl: int, data: bytes) -> bytes:
    return _name(name) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data
