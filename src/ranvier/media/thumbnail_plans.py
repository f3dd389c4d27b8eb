"""What is asked of a thumbnail, and how large it becomes (Client-Server API, "Thumbnails").

Pure arithmetic; a thumbnail is never larger than the image.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Method = Literal["crop", "scale"]


class Box(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class ThumbnailSize(NamedTuple):
    """A size that is kept; `crop` fills it, `scale` fits into it."""

    width: int
    height: int
    method: Method


class NoImage(Exception):
    """The file is none of the images that thumbnails are made of, or broken."""


class TooManyPixels(Exception):
    """The image is larger than what thumbnails are made of."""


class Wish(NamedTuple):
    """What is asked for: at least this size, by this method, in this box, moving or not."""

    wanted: Box
    box: Box | None
    method: Method
    animated: bool


class Thumbnail(NamedTuple):
    """An encoded image; `body` is `None` where the file itself is the answer."""

    content_type: str
    body: bytes | None


class Plan(NamedTuple):
    """The part of the image that is shown (left, top, right, bottom), and the size that it gets."""

    region: tuple[int, int, int, int]
    size: Box


def choose_box(wanted: Box, method: Method, sizes: Sequence[ThumbnailSize], *, exact: bool) -> Box | None:
    """The box for a wish: the smallest of the kept sizes that is not smaller, or the wish itself if `exact`.

    `None` means that no kept size is large enough, so that the image stays as large as it is. A crop in a shape
    that no kept size has gets this shape, its longer side as one of the kept ones.
    """
    if exact:
        return wanted
    fitting = [
        Box(size.width, size.height)
        for size in sizes
        if size.method == method and size.width >= wanted.width and size.height >= wanted.height
    ]
    if method == "scale":
        return min(fitting, key=_area, default=None)
    same_shape = [box for box in fitting if box.width * wanted.height == box.height * wanted.width]
    if same_shape:
        return min(same_shape, key=_area)
    longer = max(wanted)
    sides = [side for size in sizes if (side := max(size.width, size.height)) >= longer]
    if not sides:
        return None
    return Box(*(-(-length * min(sides) // longer) for length in wanted))


def plan(source: Box, wanted: Box, box: Box | None, method: Method) -> Plan | None:
    """What to show of an image, and how large; `None` means the image as it is."""
    if method == "scale":
        if box is None or (source.width <= box.width and source.height <= box.height):
            return None
        ratio = min(box.width / source.width, box.height / source.height)
        size = Box(max(1, round(source.width * ratio)), max(1, round(source.height * ratio)))
        return Plan((0, 0, *source), size)
    if source.width <= wanted.width and source.height <= wanted.height:
        return None
    region = _region(source, box or wanted)
    width, height = region[2] - region[0], region[3] - region[1]
    if box is None or width <= box.width or height <= box.height:
        return Plan(region, Box(width, height))
    return Plan(region, box)


def _region(source: Box, shape: Box) -> tuple[int, int, int, int]:
    """The greatest part in the middle that has the shape."""
    width, height = source
    if source.width * shape.height > source.height * shape.width:
        width = max(1, round(source.height * shape.width / shape.height))
    else:
        height = max(1, round(source.width * shape.height / shape.width))
    left, top = (source.width - width) // 2, (source.height - height) // 2
    return left, top, left + width, top + height


def _area(box: Box) -> int:
    return box.width * box.height
