"""Connections under chance: however bytes are cut, and whatever they are."""

import asyncio
import random
from typing import Any

from tests.http.place import Place
from tests.http.raw import RawConnection, request

REQUESTS = (
    request("GET", "/open?q=1"),
    request("PUT", "/json", b'{"a":[1,2,3]}'),
    request("POST", "/stream", b"x" * 3000),
    b'PUT /json HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"b":\r\n2\r\n1}\r\n0\r\n\r\n',
    request("GET", "/nowhere"),
    request("OPTIONS", "/open"),
    request("GET", "/pieces"),
    request("PUT", "/letters", b"{}"),
)


async def _talk(place: Place, stream: bytes, cuts: list[int], answers: int) -> list[tuple[int, bytes]]:
    async with await RawConnection.open(place.address) as raw:
        for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            await raw.send(stream[first:last])
            await asyncio.sleep(0)
        found = [await raw.answer() for _ in range(answers)]
        return [(answer.status, answer.body) for answer in found]


async def test_how_a_stream_of_requests_is_cut_does_not_matter(place: Place):
    stream = b"".join(REQUESTS * 3)
    whole = await _talk(place, stream, [], len(REQUESTS) * 3)
    assert [status for status, _ in whole[: len(REQUESTS)]] == [200, 200, 200, 200, 404, 204, 200, 400]
    for seed in range(40):
        chance = random.Random(seed)
        cuts = sorted(chance.sample(range(1, len(stream)), chance.choice([1, 5, 50, 500])))
        assert await _talk(place, stream, cuts, len(REQUESTS) * 3) == whole, f"seed {seed}"


async def test_no_bytes_at_all_break_the_server(place: Place, capfd: Any):
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    for seed in range(300):
        chance = random.Random(seed)
        stream = bytearray(b"".join(chance.choices(REQUESTS, k=chance.randint(1, 4))))
        for _ in range(chance.randint(1, 12)):
            place_of_change = chance.randrange(len(stream))
            if chance.random() < 0.5:
                stream[place_of_change] = chance.randrange(256)
            elif chance.random() < 0.5:
                del stream[place_of_change : place_of_change + chance.randint(1, 30)]
            else:
                stream[place_of_change:place_of_change] = chance.randbytes(chance.randint(1, 30))
            stream = stream or bytearray(b"\0")
        raw = await RawConnection.open(place.address)
        try:
            await raw.send(bytes(stream))
            if chance.random() < 0.5:
                await asyncio.sleep(0.001)
        except ConnectionError:
            pass
        raw.close()
    await asyncio.sleep(0.1)
    assert faults == []
    assert "Traceback" not in "".join(capfd.readouterr())
    assert place.listening.connections == 0
    assert [route.endpoint.name for route in place.routes if route.traffic.in_flight] == []
    assert (await _talk(place, REQUESTS[0], [], 1))[0][0] == 200
