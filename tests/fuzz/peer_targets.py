"""Fuzz targets for what other servers answer and tell: answers, media, headers, EDUs; and how files are asked for."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from tests.fuzz.target import Target, json_of, text_of
from tests.remote.test_operations import OPERATIONS, Here, client_of

from ranvier.client_api import media_answers
from ranvier.encryption.received_to_device import ReceivedToDevice
from ranvier.encryption.remote_lists import RemoteLists
from ranvier.federation import ephemera
from ranvier.federation.received_edus import ReceivedEdus
from ranvier.http.request import Request
from ranvier.media import dispositions, remote_media
from ranvier.protocol.refusal import Refusal
from ranvier.protocol.server_discovery import (
    Discovery,
    NeedSrv,
    NeedWellKnown,
    Route,
    SrvRecord,
    parse_well_known,
)
from ranvier.protocol.signing import SigningKey
from ranvier.remote.allowed_servers import AllowedServers
from ranvier.remote.client import ClientRules, FederationClient
from ranvier.remote.content_repository import get_content
from ranvier.remote.failure import RemoteFailure
from ranvier.remote.transport import Call, Opened
from ranvier.rooms import related, search
from ranvier.store import remote_devices, schema
from ranvier.store import remote_media as media_rows
from ranvier.store.log import Tail, read_tip
from ranvier.store.sqlite import SqliteDatabase
from ranvier.store.tailing import Tailing
from ranvier.store.writer import Writer

ITS_OWN = "its own error or a value, never anything else"
SIGNER = SigningKey("own.test", "ed25519:1", bytes(32))
LOOP = asyncio.new_event_loop()
NOW = 1_700_000_000_000
SIZE = 1000
USER = "@u:one.example"
EDU_TYPES = ("m.direct_to_device", "m.device_list_update", "m.signing_key_update", "m.receipt")


class OneAnswer:
    """A transport that has the same answer to everything, in small pieces; and a place that answers links."""

    def __init__(self, headers: Mapping[str, str], body: bytes, size: int) -> None:
        self._headers = headers
        self._body = body
        self._size = size

    @asynccontextmanager
    async def open(self, call: Call | str, timeout_s: float) -> AsyncIterator[Opened]:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(self._body), self._size):
                yield self._body[start : start + self._size]

        yield Opened(200, self._headers, pieces())


def answer(data: bytes) -> None:
    """The first byte chooses the operation, the second the status, the rest is the body."""
    operation = OPERATIONS[(data[0] if data else 0) % len(OPERATIONS)]
    status = 200 if len(data) < 2 or data[1] < 200 else 403
    client, _ = client_of(lambda call: (status, data[2:]))
    try:
        LOOP.run_until_complete(operation.call(client))
    except RemoteFailure as failure:
        assert str(failure)
        assert failure.retry_after_ms is None or failure.retry_after_ms >= 0


def multipart(data: bytes) -> None:
    """The first byte is the size of the pieces in which the rest comes: a line with the boundary, and the body."""
    boundary, _, body = data[1:].partition(b"\n")
    headers = {"content-type": f"multipart/mixed; boundary={boundary.decode('latin-1')}"}
    wholes = [_content(headers, body, max(1, size)) for size in (data[0] if data else 0, len(body))]
    # What is found does not depend on how the network cut it.
    assert wholes[0] == wholes[1]


def _content(headers: Mapping[str, str], body: bytes, size: int) -> Any:
    transport = OneAnswer(headers, body, size)
    client = FederationClient(SIGNER, transport, Here(), AllowedServers("own.test"), ClientRules(retries=0))  # type: ignore[arg-type]

    async def read() -> Any:
        async with get_content(client, transport, "one.test", "id", 1) as content:  # type: ignore[arg-type]
            pieces = [piece async for piece in content.pieces]
            assert sum(map(len, pieces)) <= len(body)
            return content.content_type, content.content_disposition, b"".join(pieces)

    try:
        return LOOP.run_until_complete(read())
    except RemoteFailure as failure:
        return str(failure)


def disposition(data: bytes) -> None:
    """What a server says of a file, and what is passed on of it: a line with its type, and its disposition."""
    told, _, name = data.decode("latin-1").partition("\n")
    content_type = remote_media._content_type(told)
    filename = remote_media._filename(name)
    row = media_rows.media_row("id", NOW, "0" * 64, 1, content_type, filename)
    for header in (row.content_type, dispositions.content_disposition(row)):
        written = header.encode("ascii")
        assert not set(written) & {0, 10, 13}
    # It can be kept.
    assert filename is None or filename.encode().decode() == filename


def byte_range(data: bytes) -> None:
    request = Request("GET", b"/", b"", [(b"range", data.replace(b"\n", b""))], "", None)  # type: ignore[arg-type]
    try:
        stretch = media_answers._stretch(request, SIZE, '"tag"')
    except Refusal as refusal:
        assert refusal.status == 416
        return
    assert 0 <= stretch.start < SIZE
    assert 0 < stretch.length <= SIZE - stretch.start


def other_tokens(data: bytes) -> None:
    """Tokens of searches and of lists of threads."""
    text = text_of(data)
    for parse in (
        lambda: search._parse_token(text, "recent"),
        lambda: search._parse_token(text, "rank"),
        lambda: related._parse_thread_token(text),
    ):
        try:
            parse()
        except Refusal as refusal:
            assert refusal.errcode == "M_INVALID_PARAM"


def srv(data: bytes) -> None:
    """A line with what a well-known document delegates to, then the records: priority, weight, port, target."""
    delegated, *lines = data.decode("latin-1").split("\n")
    records = []
    for line in lines[:20]:
        numbers = [ord(char) * 257 % 65536 for char in line[:3]]
        if len(numbers) == 3:
            records.append(SrvRecord(*numbers, line[3:].rstrip(".")))
    discovery = Discovery("one.example")
    for _ in range(6):
        step = discovery.next_step()
        if isinstance(step, NeedWellKnown):
            discovery.tell_well_known(parse_well_known(orjson.dumps({"m.server": delegated})))
        elif isinstance(step, NeedSrv):
            discovery.tell_srv(records)
        else:
            assert isinstance(step, Route)
            assert step.targets or not all(record.target for record in records)
            assert all(0 <= target.port <= 65_535 for target in step.targets)
            return
    raise AssertionError("no route after six steps")


def edu(data: bytes) -> None:
    """The first byte chooses the type, the rest is the content: taken into a real store."""
    content = json_of(data[1:])
    kind = EDU_TYPES[(data[0] if data else 0) % len(EDU_TYPES)]
    if isinstance(content, dict):
        LOOP.run_until_complete(_take({"edu_type": kind, "content": content}))


async def _take(unit: dict[str, Any]) -> None:
    # A user whose devices are followed, so that news of them are applied.
    await WRITER.run(lambda transaction: remote_devices.replace_list(transaction, USER, 1, [], NOW))
    await EDUS.take("one.example", [unit])


async def _receipts(origin: str, content: Mapping[str, Any]) -> None:
    for room_id, user_id, (event_id, thread, ts) in ephemera._receipts(content):
        assert isinstance(room_id, str)
        assert isinstance(user_id, str)
        assert len(event_id.encode()) <= 255
        assert thread is None or isinstance(thread, str)
        assert ts is None or 0 <= ts < 2**53


async def _store() -> tuple[SqliteDatabase, Writer]:
    database = SqliteDatabase(Path(tempfile.mkdtemp(prefix="ranvier-fuzz-")) / "ranvier.db")
    await schema.upgrade(database)
    writer = Writer(database, Tailing(database, Tail(await read_tip(database)), lambda entries: None))
    writer.start()
    return database, writer


DATABASE, WRITER = LOOP.run_until_complete(_store())
LISTS = RemoteLists("own.test", DATABASE, WRITER, client_of(lambda call: (200, {}))[0], lambda: NOW)
EDUS = ReceivedEdus(
    {
        "m.direct_to_device": ReceivedToDevice(WRITER, "own.test", lambda: NOW).take,
        "m.device_list_update": LISTS.take_update,
        "m.signing_key_update": LISTS.take_signing_keys,
        "m.receipt": _receipts,
    }
)

PEER_TARGETS = (
    Target("peer_answers", f"each operation makes of any answer {ITS_OWN}", answer),
    Target("multipart", f"media: {ITS_OWN}, however the answer is cut into pieces", multipart),
    Target(
        "dispositions",
        "what is said of a file becomes headers that can be sent, and can be kept",
        disposition,
    ),
    Target("byte_ranges", "a stretch within the file, or one refusal", byte_range),
    Target("other_tokens", f"parse: {ITS_OWN}", other_tokens),
    Target("srv", "any records lead to a route, or to there being none, in a bounded number of steps", srv),
    Target("edus", "any content is taken or dropped, never anything else", edu),
)
