"""The containers' name server, asked as resolvers ask it."""

import asyncio
import struct

import pytest
from complement.engine.names import BadQuery, NameServer, answer, hosts_file
from hypothesis import given
from hypothesis import strategies as st

_NAMES = {"hs1": "127.70.0.2", "host.example": "127.0.0.1"}
_A, _AAAA, _SRV = 1, 28, 33


def _query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def _read(response: bytes) -> tuple[int, list[str]]:
    """Code and addresses of an answer to `_query`."""
    number, flags, _, answers, _, _ = struct.unpack_from(">6H", response)
    assert number == 7
    assert flags & 0x8000
    return flags & 15, [".".join(map(str, response[-4:]))] * answers


@pytest.mark.parametrize("name", ["hs1", "HS1", "host.example"])
def test_a_known_name_has_its_address(name: str) -> None:
    assert _read(answer(_query(name, _A), _NAMES)) == (0, [_NAMES[name.lower()]])


def test_a_known_name_has_no_ipv6_address() -> None:
    assert _read(answer(_query("hs1", _AAAA), _NAMES)) == (0, [])


def test_service_records_are_denied_at_once() -> None:
    assert _read(answer(_query("_matrix-fed._tcp.hs1", _SRV), _NAMES)) == (3, [])


@given(st.binary(max_size=80))
def test_no_datagram_breaks_it(query: bytes) -> None:
    try:
        response = answer(query, _NAMES)
    except BadQuery:
        return
    assert response[:2] == query[:2]


async def test_it_answers_over_udp() -> None:
    loop = asyncio.get_running_loop()
    serving, _ = await loop.create_datagram_endpoint(
        lambda: NameServer(lambda: _NAMES), local_addr=("127.0.0.1", 0)
    )
    heard: asyncio.Future[bytes] = loop.create_future()

    class Asking(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            heard.set_result(data)

    asking, _ = await loop.create_datagram_endpoint(Asking, remote_addr=serving.get_extra_info("sockname"))
    asking.sendto(_query("hs1", _A))
    assert _read(await asyncio.wait_for(heard, 5)) == (0, ["127.70.0.2"])
    asking.close()
    serving.close()


def test_the_hosts_file_keeps_localhost() -> None:
    assert "127.0.0.1\tlocalhost\n" in hosts_file(_NAMES)
    assert "127.70.0.2\ths1\n" in hosts_file(_NAMES)
