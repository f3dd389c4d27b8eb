"""Thumbnails, made when they are first asked for and kept beside the files.

They are a cache: made by few threads, shared by all who ask at once, and bounded in number for each file.
"""

import asyncio
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ranvier.media.files import Files
from ranvier.media.thumbnail_plans import (
    Box,
    Method,
    NoImage,
    Thumbnail,
    ThumbnailSize,
    TooManyPixels,
    Wish,
    choose_box,
)
from ranvier.protocol.refusal import Refusal, not_found

_THREADS = 2
_WAITING = 200
_KEPT = 32
"""Thumbnails of one file that are kept; clients may ask for any shape."""
_ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}


@dataclass(frozen=True, slots=True)
class ThumbnailRules:
    """Pixels of an image at most, the sizes that are kept, and whether others are made exactly as asked for."""

    max_pixels: int
    sizes: Sequence[ThumbnailSize]
    exact: bool


class Thumbnails:
    """Makes and keeps thumbnails."""

    def __init__(self, files: Files, rules: ThumbnailRules) -> None:
        self._files = files
        self._rules = rules
        self._threads = ThreadPoolExecutor(_THREADS, "media-thumbnails")
        self._underway: dict[tuple[str, str], asyncio.Task[Thumbnail]] = {}

    async def stop(self) -> None:
        """Let go of the threads."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def get(self, sha256: str, wanted: Box, method: Method, *, animated: bool) -> Thumbnail:
        """The thumbnail of a file; refuses what is no image (`M_UNKNOWN`) or too large (`M_TOO_LARGE`)."""
        box = choose_box(wanted, method, self._rules.sizes, exact=self._rules.exact)
        if box is None:
            # All wishes beyond the kept sizes are the same one, in the shape that was asked for.
            name = "full" if method == "scale" else f"full-{wanted.width}x{wanted.height}"
        else:
            name = f"{box.width}x{box.height}"
        name = f"{method}-{name}-{'moving' if animated else 'still'}"
        wish = Wish(wanted if box is None else box, box, method, animated)
        key = (sha256, name)
        task = self._underway.get(key)
        if task is None:
            if len(self._underway) >= _WAITING:
                raise Refusal(
                    "M_LIMIT_EXCEEDED",
                    "Too many thumbnails are being made; please try again.",
                    retry_after_ms=2000,
                )
            task = asyncio.create_task(self._make(sha256, name, wish))
            self._underway[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        return await asyncio.shield(task)

    def _finish(self, key: tuple[str, str], task: asyncio.Task[Thumbnail]) -> None:
        del self._underway[key]
        if not task.cancelled():
            # Those who asked may all be gone: then nobody else takes note of a failure.
            task.exception()

    async def _make(self, sha256: str, name: str, wish: Wish) -> Thumbnail:
        folder, source = self._files.thumbnails_of(sha256), self._files.path_of(sha256)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, _read_or_make, folder, name, source, wish, self._rules.max_pixels
            )
        except TooManyPixels:
            raise Refusal(
                "M_TOO_LARGE", f"Images of more than {self._rules.max_pixels} pixels get no thumbnails here."
            ) from None
        except NoImage as error:
            raise Refusal("M_UNKNOWN", f"There can be no thumbnail: {error}", status=400) from None
        except FileNotFoundError:
            raise not_found("The content is gone.") from None


def _read_or_make(folder: Path, name: str, source: Path, wish: Wish, max_pixels: int) -> Thumbnail:
    for content_type, ending in _ENDINGS.items():
        kept = folder / (name + ending)
        if kept.exists():
            return Thumbnail(content_type, kept.read_bytes())
    from ranvier.media.images import make_thumbnail  # noqa: PLC0415 - Pillow is loaded for the first thumbnail, here in a thread

    made = make_thumbnail(source, wish, max_pixels)
    if made.body is not None:
        _keep(folder, name + _ENDINGS[made.content_type], made.body)
    return made


def _keep(folder: Path, name: str, body: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if sum(1 for _ in folder.iterdir()) >= _KEPT:
        return
    part = folder / f"{uuid.uuid4().hex}.part"
    with part.open("xb") as file:
        file.write(body)
        file.flush()
        # Without this, a power loss might leave an empty file under the final name.
        os.fsync(file.fileno())
    part.replace(folder / name)
