"""Media of other servers: as a multipart answer in any cut, by the older path, or from where it lies elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.http_client import CONTRACT
from tests.remote.neighbourhood import Neighbourhood
from tests.remote.scripted import Answered, Scripted
from tests.remote.test_operations import SIGNER, Here

from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.remote.content_repository import get_content, get_content_thumbnail
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call, Opened

PEER = "peer.test"
PICTURE = bytes(range(256)) * 500 + b"\r\n--bound\r\n--boundar" + b"\r\n\r\n--"


class Cut(Scripted):
    """Gives the body in pieces of a length."""

    def __init__(self, answer: Callable[[Call], Answered], headers: dict[str, str], length: int) -> None:
        super().__init__(answer)
        self.headers = headers
        self._length = length

    @asynccontextmanager
    async def open(self, call: Call, timeout_s: float) -> AsyncIterator[Opened]:
        async with super().open(call, timeout_s) as opened:
            body = b"".join([piece async for piece in opened.pieces])

            async def pieces() -> AsyncIterator[bytes]:
                for start in range(0, len(body), self._length):
                    yield body[start : start + self._length]

            yield Opened(opened.status, opened.headers, pieces())


def multipart(media: bytes, *headers: str, first: bytes = b"{}", boundary: str = "boundary") -> bytes:
    mark = b"--" + boundary.encode()
    second = "".join(f"{header}\r\n" for header in headers).encode() + b"\r\n" + media
    return b"\r\n".join(
        [mark, b"Content-Type: application/json", b"", first, mark, second, mark + b"--", b""]
    )


TYPE = {"content-type": 'multipart/mixed; boundary="boundary"'}


class Place:
    """Where downloads may go."""

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        self.downloads = neighbourhood.outside().network.downloads

    async def fetch(self, transport: Scripted) -> tuple[str | None, str | None, bytes]:
        client = FederationClient(
            SIGNER,
            transport,
            Here(),
            AllowedServers("own.test"),
            ClientRules(retries=0),  # type: ignore[arg-type]
        )
        async with get_content(client, self.downloads, PEER, "media/id", 5000) as content:
            body = b"".join([piece async for piece in content.pieces])
            return content.content_type, content.content_disposition, body


@pytest.fixture
def place(neighbourhood: Neighbourhood) -> Place:
    return Place(neighbourhood)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 17, 1000, 10**6])
@pytest.mark.parametrize(
    "media", [b"", b"x", b"\r\n", b"\r\n--boundar", PICTURE], ids=["none", "x", "crlf", "mark", "all"]
)
async def test_the_media_is_what_was_sent_however_it_is_cut(place: Place, media: bytes, length: int) -> None:
    if length < 5 and len(media) > 1000:
        media = media[-2000:]
    body = multipart(media, "Content-Type: image/png", 'Content-Disposition: inline; filename="a.png"')
    transport = Cut(lambda call: (200, body), TYPE, length)
    assert await place.fetch(transport) == ("image/png", 'inline; filename="a.png"', media)
    [call] = transport.calls
    CONTRACT.check_request("server-server", "GET", *call.target.split("?"), call.headers, call.body)


async def test_a_part_without_headers_is_media_of_no_type(place: Place) -> None:
    assert await place.fetch(Cut(lambda call: (200, multipart(b"xyz")), TYPE, 5)) == (None, None, b"xyz")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", TYPE),
        (b"nonsense", TYPE),
        (multipart(b"xyz")[:-20], TYPE),
        (multipart(b"xyz")[:30], TYPE),
        (b"x" * 1_000_000, TYPE),
        (multipart(b"xyz", first=b" " * 200_000), TYPE),
        (multipart(b"xyz"), {"content-type": "multipart/mixed"}),
        (multipart(b"xyz"), {"content-type": "image/png"}),
        (multipart(b"xyz"), {}),
    ],
)
async def test_an_answer_of_another_form_is_a_failure(
    place: Place, body: bytes, kind: dict[str, str]
) -> None:
    with pytest.raises(RemoteFailure):
        await place.fetch(Cut(lambda call: (200, body), kind, 1000))


async def test_older_servers_give_it_by_the_path_for_everybody(place: Place) -> None:
    def answer(call: Call) -> Answered:
        if call.target.startswith("/_matrix/media/v3/download/peer.test/media%2Fid?"):
            assert "allow_remote=false" in call.target
            assert "Authorization" not in call.headers
            return 200, b"xyz"
        return 404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}

    assert await place.fetch(Cut(answer, {"content-type": "text/plain"}, 5)) == ("text/plain", None, b"xyz")


async def test_a_file_that_is_not_there_is_not_asked_for_by_the_older_path(place: Place) -> None:
    transport = Cut(lambda call: (404, {"errcode": "M_NOT_FOUND", "error": "No."}), {}, 5)
    with pytest.raises(RemoteFailure, match="No"):
        await place.fetch(transport)
    assert len(transport.calls) == 1


async def test_media_that_lies_elsewhere_is_fetched_from_there_but_never_from_a_private_network(
    neighbourhood: Neighbourhood, place: Place
) -> None:
    neighbourhood.name_server.host("cdn.test", "127.0.0.1")
    neighbourhood.name_server.host("inside.test", "10.0.0.1")
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        if request.path == "/first":
            return web.Response(status=307, headers={"Location": "/second?x=%2F"})
        if request.path == "/inside":
            return web.Response(status=307, headers={"Location": "https://inside.test/"})
        return web.Response(body=b"xyz", content_type="image/gif")

    port = await neighbourhood.serve(answer, "cdn.test")

    def at(url: str) -> Scripted:
        return Cut(lambda call: (200, multipart(b"", f"Location: {url}")), TYPE, 50)

    assert await place.fetch(at(f"https://cdn.test:{port}/first")) == ("image/gif", None, b"xyz")
    assert seen == [None, None]
    for url in (
        f"https://cdn.test:{port}/inside",
        "https://10.0.0.1/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://inside.test/x",
        f"http://cdn.test:{port}/second",
        "file:///etc/passwd",
        "//",
        "https://user:word@cdn.test/",
        "https://" + "x" * 5000,
    ):
        with pytest.raises(RemoteFailure):
            await place.fetch(at(url))


async def test_thumbnails_are_asked_for_as_the_specification_says(place: Place) -> None:
    transport = Cut(lambda call: (200, multipart(b"xyz", "Content-Type: image/png")), TYPE, 9)
    client = FederationClient(SIGNER, transport, Here(), AllowedServers("own.test"), ClientRules())  # type: ignore[arg-type]
    async with get_content_thumbnail(
        client, place.downloads, PEER, "id", width=32, height=16, method="crop", animated=False, wait_ms=1000
    ) as content:
        assert b"".join([piece async for piece in content.pieces]) == b"xyz"
    [call] = transport.calls
    CONTRACT.check_request("server-server", "GET", *call.target.split("?"), call.headers, None)
