"""Images for tests, encoded by Pillow."""

import io
from typing import Any

from PIL import Image


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """A picture of four colours: red, green above blue, white."""
    image = Image.new("RGB", (width, height))
    colours = ("red", "lime", "blue", "white")
    for i, colour in enumerate(colours):
        left, top = (i % 2) * (width // 2), (i // 2) * (height // 2)
        image.paste(colour, (left, top, width if i % 2 else width // 2, height if i > 1 else height // 2))
    return encode(image.convert(mode), kind, **options)


def film(width: int, height: int, frames: int, kind: str = "GIF") -> bytes:
    """A film of that many frames, each of its own colour."""
    pictures = [
        Image.new("RGB", (width, height), (i * 37 % 256, 90, 255 - i * 11 % 256)) for i in range(frames)
    ]
    return encode(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=50, loop=0)


def decode(data: bytes) -> Image.Image:
    """The picture of a file, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
