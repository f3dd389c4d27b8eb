"""Fuzz targets above the protocol floor: what comes in over HTTP before any endpoint sees it, tokens, images."""

import asyncio
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import orjson
from tests.fuzz.target import Target, json_of, text_of

from ranvier.encryption import key_forms
from ranvier.http.connection import Connection, Connections, Send
from ranvier.http.endpoints import Endpoint, endpoint
from ranvier.http.incoming import Gone
from ranvier.http.limits import Limits
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.http.router import Router, route_of
from ranvier.media.images import make_thumbnail
from ranvier.media.thumbnail_plans import Box, NoImage, TooManyPixels, Wish
from ranvier.protocol.refusal import Refusal
from ranvier.rooms import pagination
from ranvier.sync import tokens

ITS_OWN = "its own error or a value, never anything else"
USER, DEVICE = "@alice:example.org", "DEVICE"
MAX_PIXELS = 64 * 64
LOOP = asyncio.new_event_loop()
FAULTS: list[dict[str, Any]] = []
LOOP.set_exception_handler(lambda _, context: FAULTS.append(context))
STATUS_LINE = re.compile(rb"HTTP/1\.1 [1-5][0-9]{2} ")


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed, "written after closing"
        self.written += bytes(data)

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing to pause."""

    def resume_reading(self) -> None:
        """Nothing to resume."""

    def get_write_buffer_size(self) -> int:
        return 0


async def _answer(request: Request, send: Send) -> None:
    """As the application does: read the body, look at the query, answer."""
    pieces = []
    try:
        while piece := await request.incoming.read():
            pieces.append(piece)
        request.body = b"".join(pieces)
        said = request.json_or_empty()
        request.query("q")
        ROUTER.find(request.method, request.raw_path.decode("latin-1"))
        request.query_int("limit", 10)
    except Refusal as refusal:
        said = refusal.to_json()
    except Gone:
        return
    await send(Response(200, orjson.dumps(list(said))))


async def _feed(data: bytes) -> None:
    shared = Connections(_answer, 10)
    connection, wire = Connection(shared), Wire()
    connection.connection_made(wire)
    # The first byte says how the rest is cut into pieces.
    size = max(1, (data[0] if data else 0) * 4)
    for start in range(1, len(data), size):
        if wire.closed:
            break
        connection.data_received(data[start : start + size])
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    if shared.tasks:
        await asyncio.wait(shared.tasks, timeout=1)
    assert not shared.open
    assert not wire.written or STATUS_LINE.match(wire.written)


def http(data: bytes) -> None:
    FAULTS.clear()
    LOOP.run_until_complete(_feed(data[:200_000]))
    assert not FAULTS


def path(data: bytes) -> None:
    """A raw path, sought among routes with literals and parameters side by side; HTTP lets no NUL into it."""
    try:
        route, parameters = ROUTER.find("GET", data.decode("latin-1").replace("\0", ""))
    except Refusal as refusal:
        assert refusal.errcode in ("M_UNRECOGNIZED", "M_INVALID_PARAM")
        return
    assert tuple(parameters) == route.names
    assert not any("\0" in value for value in parameters.values())


def sync_token(data: bytes) -> None:
    try:
        token = tokens.parse(text_of(data))
    except Refusal as refusal:
        assert refusal.errcode == "M_INVALID_PARAM"
        return
    assert tokens.parse(str(token)) == token


def pagination_token(data: bytes) -> None:
    try:
        place = pagination.parse(text_of(data))
    except Refusal as refusal:
        assert refusal.errcode == "M_INVALID_PARAM"
        return
    assert pagination.parse(str(place)) == place
    assert all(0 <= number < 2**63 for number in place)


def device_keys(data: bytes) -> None:
    value = json_of(data)
    if not isinstance(value, dict):
        return
    for check in (
        lambda: key_forms.check_device_keys(value, USER, DEVICE),
        lambda: key_forms.check_one_time_keys(value, "one_time_keys"),
        lambda: key_forms.check_cross_signing_key(value, "master", USER),
    ):
        try:
            check()
        except Refusal as refusal:
            assert refusal.errcode.startswith("M_")
    assert key_forms.is_signed_by(value, USER, "A" * 43) in (True, False)
    json.dumps(key_forms.without_signatures(value))


def image(data: bytes) -> None:
    """The first byte says what is wished for; the rest is the file."""
    choice = data[0] if data else 0
    wish = Wish(Box(32, 32), Box(32, 32), "crop" if choice & 1 else "scale", bool(choice & 2))
    SCRATCH.write_bytes(data[1:])
    try:
        made = make_thumbnail(SCRATCH, wish, MAX_PIXELS)
    except (NoImage, TooManyPixels):
        return
    assert made.content_type.startswith("image/")
    assert made.body is None or len(made.body) > 0


def _router() -> Router:
    @endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/state")
    @endpoint("GET", "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}")
    @endpoint("PUT", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}")
    @endpoint("GET", "/_matrix/client/v3/rooms/summary/{roomId}")
    async def something(request: Request) -> Response:
        return Response(200, b"{}")

    marks: list[Endpoint] = something.__endpoints__  # type: ignore[attr-defined]
    return Router(route_of(one, {}, Limits({}, lambda: 0.0)) for one in marks)


ROUTER = _router()
SCRATCH = Path(tempfile.mkdtemp(prefix="ranvier-fuzz-")) / "image"

SERVER_TARGETS = (
    Target("http", "no bytes raise or break an answer; what is written is HTTP, nothing after closing", http),
    Target("paths", f"find: {ITS_OWN}; each parameter of the route has its value", path),
    Target("sync_tokens", f"parse: {ITS_OWN}; what passes is written the same", sync_token),
    Target("pagination_tokens", f"parse: {ITS_OWN}; what passes is written the same", pagination_token),
    Target("device_keys", f"each check: {ITS_OWN}", device_keys),
    Target("images", "a thumbnail, or one of two refusals, never anything else", image),
)
