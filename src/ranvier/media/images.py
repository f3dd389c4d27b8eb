"""Making thumbnails with Pillow: runs in threads, on files that strangers made.

Only the decoders of a few formats are let near such files, and only after the size that the header tells was checked.
"""

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from ranvier.media.thumbnail_plans import Box, NoImage, Plan, Thumbnail, TooManyPixels, Wish, plan

_DECODERS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF")
_SERVED = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "GIF": "image/gif",
    "WEBP": "image/webp",
}
_MOVING = ("PNG", "GIF", "WEBP", "AVIF")
_FRAMES = 500
_DECODED = 8
"""What may be decoded of a moving image, as a multiple of the pixels that an image may have."""
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)


def make_thumbnail(path: Path, wish: Wish, max_pixels: int) -> Thumbnail:
    """The thumbnail of an image file. Raises `NoImage` and `TooManyPixels`."""
    try:
        with Image.open(path, formats=_DECODERS) as image:
            if image.width * image.height > max_pixels:
                raise TooManyPixels
            return _make(image, wish, max_pixels)
    except Image.DecompressionBombError as error:
        raise TooManyPixels from error
    except (TooManyPixels, FileNotFoundError):
        raise
    except UnidentifiedImageError as error:
        raise NoImage("This is not an image of a kind that thumbnails are made of.") from error
    except Exception as error:
        # Decoders fail on broken files in many ways; none of them is this server's fault.
        raise NoImage("The image is broken.") from error


def _make(image: Image.Image, wish: Wish, max_pixels: int) -> Thumbnail:
    orientation = _orientation(image)
    source = Box(*(reversed(image.size) if orientation in _TURNED else image.size))
    made = plan(source, wish.wanted, wish.box, wish.method)
    moving = _is_moving(image)
    kind = _SERVED.get(image.format or "")
    if made is None and kind is not None and (wish.animated or not moving):
        return Thumbnail(kind, None)
    made = made or Plan((0, 0, *source), source)
    if moving and wish.animated:
        most = min(_FRAMES, _DECODED * max_pixels // max(1, image.width * image.height))
        frames = _count_frames(image, most)
        if frames <= most and frames * _pixels(made.size) <= max_pixels:
            return _encode_moving(image, made, frames)
    return _encode_still(image, made, upright=orientation == 1)


def _orientation(image: Image.Image) -> int:
    """How a camera held the image; 1, which is upright, where that can't be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _is_moving(image: Image.Image) -> bool:
    return image.format in _MOVING and bool(getattr(image, "is_animated", False))


def _pixels(size: Box) -> int:
    return size.width * size.height


def _count_frames(image: Image.Image, most: int) -> int:
    """Frames of a moving image, counted to one more than what is used: to look at a frame is to decode it."""
    count = 0
    try:
        while count <= most:
            image.seek(count)
            count += 1
    except EOFError:
        pass
    image.seek(0)
    return count


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _encode_still(image: Image.Image, made: Plan, *, upright: bool) -> Thumbnail:
    alpha = _has_alpha(image)
    if image.format == "JPEG":
        # A JPEG can be decoded at a fraction of its size, which saves most of the work.
        scale = (made.region[2] - made.region[0]) / made.size.width
        before = image.size
        image.draft("RGB", (max(1, int(image.width / scale)), max(1, int(image.height / scale))))
        made = _scaled(made, before, image.size)
    turned = image if upright else ImageOps.exif_transpose(image)
    small = _resize(turned.convert("RGBA" if alpha else "RGB"), made)
    out = io.BytesIO()
    if alpha or image.format == "PNG":
        # Drawings and screenshots stay sharp, and others expect the kind that was uploaded.
        small.save(out, "PNG")
        return Thumbnail("image/png", out.getvalue())
    small.save(out, "JPEG", quality=80, progressive=True)
    return Thumbnail("image/jpeg", out.getvalue())


def _scaled(made: Plan, before: tuple[int, int], after: tuple[int, int]) -> Plan:
    """The plan for an image that was decoded smaller; both sides shrink alike."""
    if before == after:
        return made
    factor = after[0] / before[0]
    left, top, right, bottom = (int(edge * factor) for edge in made.region)
    return Plan((left, top, max(right, left + 1), max(bottom, top + 1)), made.size)


def _encode_moving(image: Image.Image, made: Plan, frames: int) -> Thumbnail:
    durations: list[int] = []

    def shrunk() -> Iterator[Image.Image]:
        for frame in ImageSequence.Iterator(image):
            durations.append(int(frame.info.get("duration", 100)))
            yield _resize(frame.convert("RGBA"), made)

    pictures = list(shrunk())
    out = io.BytesIO()
    loop = int(image.info.get("loop", 0))
    pictures[0].save(
        out, "WEBP", save_all=True, append_images=pictures[1:frames], duration=durations, loop=loop
    )
    return Thumbnail("image/webp", out.getvalue())


def _resize(image: Image.Image, made: Plan) -> Image.Image:
    return image.resize(made.size, Image.Resampling.LANCZOS, made.region, reducing_gap=2.0)
