"""Files named by their content."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ranvier.media.files import Files, TooLarge


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Files]:
    made = Files(tmp_path / "media")
    await made.start()
    yield made
    await made.stop()


async def stream(data: bytes, piece: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[start : start + piece]


async def whole(files: Files, sha256: str, start: int = 0, length: int = 1 << 40) -> bytes:
    return b"".join([piece async for piece in files.read(sha256, start, length)])


def left_over(folder: Path) -> list[Path]:
    return list((folder / "media" / "uploads").iterdir())


@pytest.mark.parametrize("size", [0, 1, 10_000, 262_144, 1_000_003])
async def test_what_was_kept_is_read_back(files: Files, size: int, tmp_path: Path):
    data = os.urandom(size)
    stored = await files.receive(stream(data), size)
    assert stored == (hashlib.sha256(data).hexdigest(), size)
    assert await whole(files, stored.sha256) == data
    assert left_over(tmp_path) == []


async def test_a_stretch_is_read_alone(files: Files):
    data = os.urandom(700_000)
    stored = await files.receive(stream(data), 1 << 20)
    assert await whole(files, stored.sha256, 300_000, 300_000) == data[300_000:600_000]
    assert await whole(files, stored.sha256, 699_999, 5) == data[-1:]


async def test_the_same_content_lies_there_once(files: Files, tmp_path: Path):
    data = os.urandom(50_000)
    stored = await asyncio.gather(*(files.receive(stream(data), 1 << 20) for _ in range(10)))
    assert len(set(stored)) == 1
    found = [path for path in (tmp_path / "media" / "content").rglob("*") if path.is_file()]
    assert found == [files.path_of(stored[0].sha256)]


async def test_one_byte_too_many_keeps_nothing(files: Files, tmp_path: Path):
    with pytest.raises(TooLarge):
        await files.receive(stream(b"x" * 500_001), 500_000)
    assert await asyncio.to_thread(_until_empty, tmp_path)


async def test_an_upload_that_breaks_off_leaves_nothing(files: Files, tmp_path: Path):
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        raise ConnectionResetError

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        await asyncio.sleep(60)

    with pytest.raises(ConnectionResetError):
        await files.receive(broken(), 1 << 20)
    waiting = asyncio.create_task(files.receive(endless(), 1 << 20))
    await asyncio.sleep(0.2)
    assert len(left_over(tmp_path)) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(_until_empty, tmp_path)


def _until_empty(folder: Path) -> bool:
    import time

    for _ in range(100):
        if not left_over(folder):
            return True
        time.sleep(0.02)
    return False


async def test_what_a_crash_left_is_dropped_a_day_later(tmp_path: Path):
    uploads = tmp_path / "media" / "uploads"
    uploads.mkdir(parents=True)
    (uploads / "old").write_bytes(b"x")
    os.utime(uploads / "old", (0, 0))
    (uploads / "underway").write_bytes(b"x")
    files = Files(tmp_path / "media")
    await files.start()
    assert [path.name for path in uploads.iterdir()] == ["underway"]
    await files.stop()
