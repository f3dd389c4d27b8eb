"""Listeners that speak TLS themselves, with a certificate that may change while they run."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.authority import Authority, Files

from ranvier.http.certificate import BadCertificate, Certificate
from ranvier.http.connection import Send
from ranvier.http.listening import Address, Listening
from ranvier.http.request import Request
from ranvier.http.response import Response


async def answer(request: Request, send: Send) -> None:
    size = 0
    while not request.incoming.is_complete:
        size += len(await request.incoming.read())
    body = b"x" * 3_000_000 if request.raw_path == b"/large" else b"%d" % size
    await send(Response(200, body, []))


class Place:
    """A listener whose files the test may change."""

    def __init__(self, files: Files, folder: Path) -> None:
        self.certificate_path = folder / "cert.pem"
        self.key_path = folder / "key.pem"
        self.put(files)
        self.certificate = Certificate(self.certificate_path, self.key_path)
        self.listening = Listening(answer, [Address("127.0.0.1", 0)], self.certificate)

    def put(self, files: Files) -> None:
        shutil.copy(files.certificate, self.certificate_path)
        shutil.copy(files.private_key, self.key_path)

    @property
    def port(self) -> int:
        return self.listening.bound[0].port


@asynccontextmanager
async def place_of(files: Files, folder: Path) -> AsyncIterator[Place]:
    made = Place(files, folder)
    await made.listening.start()
    try:
        yield made
    finally:
        made.listening.stop_accepting()
        await made.listening.drain(1)


async def ask(place: Place, authority: Authority, name: str, path: str = "/", data: bytes = b"") -> bytes:
    """The body of an answer of the server, whose certificate must be for that name."""
    context = ssl.create_default_context(cafile=authority.path)
    url = f"https://127.0.0.1:{place.port}{path}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=data, ssl=context, server_hostname=name) as response,
    ):
        return await response.read()


async def test_large_bodies_pass_both_ways(authority: Authority, tmp_path: Path) -> None:
    async with place_of(authority.issue("a.test"), tmp_path) as place:
        assert await ask(place, authority, "a.test", data=b"y" * 2_000_000) == b"2000000"
        assert len(await ask(place, authority, "a.test", "/large")) == 3_000_000


async def test_a_new_certificate_counts_for_the_next_connection(authority: Authority, tmp_path: Path) -> None:
    async with place_of(authority.issue("a.test"), tmp_path) as place:
        assert await ask(place, authority, "a.test") == b"0"
        place.put(authority.issue("b.test"))
        place.certificate.reload_if_changed()
        assert await ask(place, authority, "b.test") == b"0"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(place, authority, "a.test")


async def test_files_that_can_not_be_used_leave_the_old_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    async with place_of(authority.issue("a.test"), tmp_path) as place:
        for spoil in (
            lambda: place.certificate_path.write_text("nonsense"),
            lambda: shutil.copy(authority.issue("b.test").private_key, place.key_path),
            place.key_path.unlink,
        ):
            spoil()
            place.certificate.reload_if_changed()
            assert await ask(place, authority, "a.test") == b"0"


@pytest.mark.parametrize("spoiled", ["certificate", "key"])
def test_a_start_with_files_that_can_not_be_used_says_which(
    authority: Authority, tmp_path: Path, spoiled: str
) -> None:
    files = authority.issue("a.test")
    other = authority.issue("a.test")
    with pytest.raises(BadCertificate, match="tls_certificate_path"):
        if spoiled == "key":
            Certificate(files.certificate, other.private_key)
        else:
            Certificate(tmp_path / "missing.pem", files.private_key)


async def test_who_speaks_no_tls_is_not_served_and_harms_nobody(authority: Authority, tmp_path: Path) -> None:
    async with place_of(authority.issue("a.test"), tmp_path) as place:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in await reader.read(1000)
        writer.close()
        assert await ask(place, authority, "a.test") == b"0"
