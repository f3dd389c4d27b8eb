"""What media ids stand for, with a clock that tests move."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.nobody import NobodyAnswers

from ranvier.media.files import Files
from ranvier.media.remote_media import RemoteMedia
from ranvier.media.repository import OCTETS, Repository, Upload, UploadQuota, UploadRules
from ranvier.protocol.refusal import Refusal
from ranvier.store.database import Database
from ranvier.store.writer import Writer

ALICE, SERVER_NAME = "@alice:example.org", "example.org"
HOUR = 3600 * 1000


class Clock:
    """Milliseconds since the epoch."""

    time = 1_700_000_000_000

    def __call__(self) -> int:
        return self.time


def remote_media(database: Database, writer: Writer, files: Files, clock: Any) -> RemoteMedia:
    """Other servers' content, none of which can be had."""
    nobody = cast(Any, NobodyAnswers())
    return RemoteMedia(database, writer, files, nobody, nobody, clock, max_bytes=1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def repository(
    database: Database, writer: Writer, tmp_path: Path, clock: Clock
) -> AsyncIterator[Repository]:
    files = Files(tmp_path / "media")
    await files.start()
    remote = remote_media(database, writer, files, clock)
    yield Repository(
        database,
        writer,
        files,
        remote,
        UploadRules(1000, 2, 24 * HOUR, True),
        SERVER_NAME,
        clock,
    )
    await files.stop()


def upload(data: bytes = b"data") -> Upload:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    return Upload(pieces(), len(data), OCTETS, None)


async def errcode_of(awaitable: object) -> str:
    with pytest.raises(Refusal) as refused:
        await awaitable  # type: ignore[misc]
    return refused.value.errcode


def id_of(uri: str) -> str:
    return uri.rpartition("/")[2]


async def test_an_announcement_expires(repository: Repository, clock: Clock):
    uri, expires = await repository.create(ALICE)
    assert expires == clock.time + 24 * HOUR
    clock.time = expires - 1
    find = {"authenticated": True, "wait_ms": 0}
    assert await errcode_of(repository.find(SERVER_NAME, id_of(uri), **find)) == "M_NOT_YET_UPLOADED"
    clock.time = expires
    assert await errcode_of(repository.find(SERVER_NAME, id_of(uri), **find)) == "M_NOT_FOUND"
    assert await errcode_of(repository.fill(ALICE, SERVER_NAME, id_of(uri), upload())) == "M_NOT_FOUND"


async def test_content_that_came_stays_when_its_announcement_would_have_expired(
    repository: Repository, clock: Clock, database: Database
):
    uri, expires = await repository.create(ALICE)
    await repository.fill(ALICE, SERVER_NAME, id_of(uri), upload())
    forgotten, _ = await repository.create(ALICE)
    clock.time = expires + HOUR
    await repository.create(ALICE)
    assert (await repository.find(SERVER_NAME, id_of(uri), authenticated=True, wait_ms=0)).size == 4
    known = await database.fetch("SELECT media_id FROM media WHERE media_id = $1", id_of(forgotten))
    assert known == []


async def test_an_upload_that_takes_too_long_comes_too_late(repository: Repository, clock: Clock):
    uri, expires = await repository.create(ALICE)

    async def slow() -> AsyncIterator[bytes]:
        yield b"da"
        clock.time = expires
        yield b"ta"

    late = replace(upload(), pieces=slow())
    assert await errcode_of(repository.fill(ALICE, SERVER_NAME, id_of(uri), late)) == "M_NOT_FOUND"


async def test_content_of_before_the_freeze_needs_no_token(
    repository: Repository, database: Database, writer: Writer, tmp_path: Path, clock: Clock
):
    files = Files(tmp_path / "media")
    open_rules = UploadRules(1000, 2, 24 * HOUR, False)
    remote = remote_media(database, writer, files, clock)
    before = Repository(database, writer, files, remote, open_rules, SERVER_NAME, clock)
    old = id_of(await before.upload(ALICE, upload()))
    new = id_of(await repository.upload(ALICE, upload()))
    for reading in (before, repository):
        assert (await reading.find(SERVER_NAME, old, authenticated=False, wait_ms=0)).size == 4
        assert (
            await errcode_of(reading.find(SERVER_NAME, new, authenticated=False, wait_ms=0)) == "M_NOT_FOUND"
        )
        assert (await reading.find(SERVER_NAME, new, authenticated=True, wait_ms=0)).size == 4
    await files.stop()


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"announced_bytes": 1001}, "M_TOO_LARGE"),
        ({"content_type": "x" * 256}, "M_INVALID_PARAM"),
        ({"content_type": "text/\u00e4"}, "M_INVALID_PARAM"),
        ({"content_type": " "}, "M_INVALID_PARAM"),
        ({"filename": "\u00e4" * 128}, "M_INVALID_PARAM"),
    ],
)
async def test_uploads_out_of_bounds_are_refused(
    repository: Repository, database: Database, change: dict[str, object], errcode: str
):
    assert await errcode_of(repository.upload(ALICE, replace(upload(), **change))) == errcode  # type: ignore[arg-type]
    assert await database.fetch_value("SELECT COUNT(*) FROM media") == 0


async def test_who_uploaded_what_they_may_waits_until_the_time_is_over(
    repository: Repository, database: Database, clock: Clock
):
    repository.rules = replace(repository.rules, quotas=(UploadQuota(HOUR, 10), UploadQuota(24 * HOUR, 15)))
    await repository.upload(ALICE, upload(b"x" * 8))
    announced, _ = await repository.create(ALICE)
    assert await errcode_of(repository.upload(ALICE, upload(b"x" * 3))) == "M_RESOURCE_LIMIT_EXCEEDED"
    filled = repository.fill(ALICE, SERVER_NAME, id_of(announced), upload(b"x" * 3))
    assert await errcode_of(filled) == "M_RESOURCE_LIMIT_EXCEEDED"
    # Whatever a client says of the size, what came counts.
    unannounced = replace(upload(b"x" * 3), announced_bytes=None)
    assert await errcode_of(repository.upload(ALICE, unannounced)) == "M_RESOURCE_LIMIT_EXCEEDED"
    assert await database.fetch_value("SELECT SUM(size) FROM media") == 8
    await repository.upload("@bob:example.org", upload(b"x" * 8))
    clock.time += HOUR + 1
    await repository.upload(ALICE, upload(b"x" * 7))
    clock.time += HOUR + 1
    assert await errcode_of(repository.upload(ALICE, upload(b"x"))) == "M_RESOURCE_LIMIT_EXCEEDED"
    clock.time += 24 * HOUR
    await repository.upload(ALICE, upload(b"x" * 10))
