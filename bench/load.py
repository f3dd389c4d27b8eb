"""Ways to put requests on a server: one after the other on each of several connections."""

import asyncio
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from bench.connection import Address, Connection
from bench.progress import Step


@contextmanager
def connections(address: Address, count: int) -> Iterator[list[Connection]]:
    """So many connections, closed at the end."""
    opened = [Connection(address) for _ in range(count)]
    try:
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def drive(
    lines: Sequence[Connection],
    requests: Iterable[bytes],
    step: Step,
    latencies: "array[float] | None" = None,
) -> list[bytes]:
    """Send all requests, as many in flight as there are connections; the answers' bodies in their order.

    Each answer must have status 200.
    """
    numbered = enumerate(requests)
    bodies: dict[int, bytes] = {}

    async def work(line: Connection) -> None:
        for number, request in numbered:
            answer = await line.expect(request)
            bodies[number] = answer.body
            if latencies is not None:
                latencies.append(answer.seconds)
            step.advance()

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(work(line))
    return [bodies[number] for number in sorted(bodies)]
