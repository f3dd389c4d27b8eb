"""The generator's connection against a socket that answers in all the ways a server may."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from bench.connection import Address, Connection, UnexpectedAnswer
from bench.load import connections, drive
from bench.progress import Step

from bench import requests

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = requests.build("GET", "/x")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def serving(conversation: Conversation) -> AsyncIterator[Address]:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await conversation(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield Address(host, port)
    finally:
        server.close()


def answering(*answers: bytes) -> Conversation:
    """Each request on a connection gets the next of these; after the last the connection is closed."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)

    return conversation


async def test_requests_on_one_connection_are_answered_in_turn() -> None:
    second = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nsecon"
    async with serving(answering(OK, second, OK)) as address:
        with connections(address, 1) as (line,):
            answers = [await line.ask(REQUEST) for _ in range(3)]
    assert [(a.status, a.body) for a in answers] == [(200, b"ok"), (201, b"secon"), (200, b"ok")]


async def test_a_body_in_chunks_and_pieces_is_put_together() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in (
            b"HTTP/1.1 200 OK\r\nTransfer-Enco",
            b"ding: chunked\r\n\r\n3\r\nabc\r\n",
            b"2\r\nde\r\n0\r\n\r\n",
        ):
            writer.write(piece)
            await asyncio.sleep(0.02)

    async with serving(conversation) as address:
        with connections(address, 1) as (line,):
            assert (await line.ask(REQUEST)).body == b"abcde"


async def test_a_connection_closed_after_an_answer_is_opened_anew() -> None:
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with serving(answering(last)) as address:
        with connections(address, 1) as (line,):
            assert [(await line.ask(REQUEST)).status for _ in range(3)] == [200, 200, 200]


async def test_a_server_that_hangs_up_instead_of_answering_is_an_error() -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")) as address:
        with (
            connections(address, 1) as (line,),
            pytest.raises(ConnectionError, match="closed the connection before it answered"),
        ):
            await line.ask(REQUEST)


async def test_what_is_not_http_is_an_error() -> None:
    async with serving(answering(b"SSH-2.0-OpenSSH\r\n\r\n")) as address:
        with connections(address, 1) as (line,), pytest.raises(ConnectionError, match="not an HTTP answer"):
            await line.ask(REQUEST)


async def test_an_unexpected_status_shows_the_request_and_the_answer() -> None:
    refusal = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 25\r\n\r\n{"errcode":"M_FORBIDDEN"}'
    async with serving(answering(refusal)) as address:
        with (
            connections(address, 1) as (line,),
            pytest.raises(UnexpectedAnswer, match=r"GET /x HTTP/1.1: 403 .*M_FORBIDDEN"),
        ):
            await line.expect(REQUEST)


async def test_the_measured_time_is_that_of_the_answer() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.write(OK)

    async with serving(conversation) as address:
        with connections(address, 1) as (line,):
            assert 0.09 < (await line.ask(REQUEST)).seconds < 0.5


async def test_bodies_come_in_the_order_of_requests_whatever_order_they_were_answered_in() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
            await asyncio.sleep(0.03 if path == b"/0" else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))

    async with serving(conversation) as address:
        with connections(address, 4) as lines:
            step = Step("", 10)
            bodies = await drive(lines, [requests.build("GET", f"/{n}") for n in range(10)], step)
    assert bodies == [f"/{n}".encode() for n in range(10)]
    assert step.done == 10


async def test_no_more_requests_are_in_flight_than_there_are_connections() -> None:
    under_way: list[int] = [0, 0]

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            under_way[0] += 1
            under_way[1] = max(under_way)
            await asyncio.sleep(0.005)
            under_way[0] -= 1
            writer.write(OK)

    async with serving(conversation) as address:
        with connections(address, 3) as lines:
            await drive(lines, [REQUEST] * 30, Step("", 30))
    assert under_way[1] == 3


async def test_a_request_costs_the_generator_less_than_a_fast_server() -> None:
    """The budget is 100 µs; server and generator share this process, so both fit in it here."""

    class Fast(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(OK)

    server = await asyncio.get_running_loop().create_server(Fast, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    count = 3_000
    with connections(Address(host, port), 8) as lines:
        await drive(lines, [REQUEST] * 100, Step("", 0))
        before = time.process_time()
        await drive(lines, [REQUEST] * count, Step("", 0))
        used = time.process_time() - before
    server.close()
    assert used / count < 200e-6


async def test_nobody_listening_is_an_error() -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    server.close()
    await server.wait_closed()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await Connection(Address(host, port)).ask(REQUEST)
