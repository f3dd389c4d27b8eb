"""Files on disk, each named by the SHA-256 of its bytes, so that the same content lies there once.

A file is complete and durable under its name, or not there at all: it is written elsewhere, flushed, and renamed.
"""

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

_PIECE = 256 * 1024
_THREADS = 4
_STALE_SECONDS = 24 * 3600

T = TypeVar("T")


class TooLarge(Exception):
    """More bytes came than were allowed."""


class StoredFile(NamedTuple):
    """A file's name (hex) and its size in bytes."""

    sha256: str
    size: int


class Files:
    """All files under one folder. What touches the disk happens in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_THREADS, "media-files")

    async def start(self) -> None:
        """Make the folders, and drop what uploads left that a crash cut off."""
        await self._run(self._prepare)

    async def stop(self) -> None:
        """Let go of the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    def path_of(self, sha256: str) -> Path:
        """Where the file of that name lies."""
        return self._folder / "content" / sha256[:2] / sha256[2:4] / sha256

    def thumbnails_of(self, sha256: str) -> Path:
        """The folder of the thumbnails of a file."""
        return self._folder / "thumbnails" / sha256[:2] / sha256[2:4] / sha256

    async def receive(self, pieces: AsyncIterator[bytes], limit: int) -> StoredFile:
        """Keep a stream of at most `limit` bytes; it is durable when this returns. Raises `TooLarge`."""
        upload = _Upload(self._folder / "uploads" / uuid.uuid4().hex)
        await self._run(upload.open)
        try:
            gathered = bytearray()
            async for piece in pieces:
                gathered += piece
                if upload.size + len(gathered) > limit:
                    raise TooLarge
                if len(gathered) >= _PIECE:
                    await self._run(upload.write, bytes(gathered))
                    gathered.clear()
            await self._run(upload.write, bytes(gathered))
            return await self._run(upload.finish, self.path_of)
        except BaseException:
            # Not awaited: whoever waits here may have been cancelled.
            self._threads.submit(upload.abandon)
            raise

    async def holds(self, sha256: str) -> bool:
        """Whether the file of that name is there."""
        return await self._run(self.path_of(sha256).exists)

    async def read(self, sha256: str, start: int, length: int) -> AsyncIterator[bytes]:
        """A stretch of a file, in pieces."""
        file = await self._run(_open_at, self.path_of(sha256), start)
        try:
            while length > 0:
                piece = await self._run(file.read, min(length, _PIECE))
                if not piece:
                    return
                length -= len(piece)
                yield piece
        finally:
            self._threads.submit(file.close)

    async def _run(self, work: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *values)

    def _prepare(self) -> None:
        for name in ("content", "uploads", "thumbnails"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        oldest = time.time() - _STALE_SECONDS
        for left in (self._folder / "uploads").iterdir():
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < oldest:
                    left.unlink()


class _Upload:
    """A file that is being written; its methods run in threads, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self.size = 0

    def open(self) -> None:
        self._file = self._path.open("xb")

    def write(self, data: bytes) -> None:
        assert self._file is not None
        self._hash.update(data)
        self._file.write(data)
        self.size += len(data)

    def finish(self, path_of: Callable[[str], Path]) -> StoredFile:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sha256 = self._hash.hexdigest()
        target = path_of(sha256)
        _make_durably(target.parent)
        self._path.replace(target)
        _flush_folder(target.parent)
        return StoredFile(sha256, self.size)

    def abandon(self) -> None:
        if self._file is not None:
            self._file.close()
        self._path.unlink(missing_ok=True)


def _open_at(path: Path, start: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(start)
    return file


def _make_durably(folder: Path) -> None:
    """Make a folder such that power loss does not take it, nor the ones above it."""
    if not folder.exists():
        _make_durably(folder.parent)
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
