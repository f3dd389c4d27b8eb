"""Making thumbnails of images, good and bad."""

from pathlib import Path

import pytest
from PIL import Image
from tests.media.images_made import decode, encode, film, picture

from ranvier.media.images import make_thumbnail
from ranvier.media.thumbnail_plans import Box, Method, NoImage, Thumbnail, TooManyPixels, Wish

MANY = 10_000_000


def make(
    folder: Path,
    data: bytes,
    width: int,
    height: int,
    method: Method = "scale",
    *,
    animated: bool = False,
    most: int = MANY,
) -> Thumbnail:
    path = folder / "image"
    path.write_bytes(data)
    box = Box(width, height)
    return make_thumbnail(path, Wish(box, box, method, animated), most)


def colours(image: Image.Image) -> list[tuple[int, ...]]:
    """The corners' colours, each channel as 0 or 1."""
    width, height = image.size
    places = ((1, 1), (width - 2, 1), (1, height - 2), (width - 2, height - 2))
    return [tuple(int(v > 127) for v in image.convert("RGB").getpixel(place)) for place in places]  # type: ignore[union-attr]


UPRIGHT = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "AVIF"])
def test_images_of_every_common_kind_are_scaled(tmp_path: Path, kind: str):
    made = make(tmp_path, picture(900, 600, kind), 320, 240)
    assert made.body is not None
    small = decode(made.body)
    assert small.size == (320, 213)
    assert colours(small) == UPRIGHT
    assert made.content_type == f"image/{(small.format or '').lower()}"


def test_cropping_cuts_the_middle_out(tmp_path: Path):
    made = make(tmp_path, picture(600, 200), 96, 96, "crop")
    assert made.body is not None
    assert decode(made.body).size == (96, 96)
    assert colours(decode(made.body)) == UPRIGHT


def test_a_small_image_is_answered_as_it_is_under_its_real_type(tmp_path: Path):
    assert make(tmp_path, picture(30, 30, "PNG"), 32, 32) == Thumbnail("image/png", None)
    assert make(tmp_path, picture(30, 30, "JPEG"), 32, 32) == Thumbnail("image/jpeg", None)
    # No thumbnail may be of this type, so it is encoded anew.
    made = make(tmp_path, picture(30, 30, "AVIF"), 32, 32)
    assert made.content_type == "image/jpeg"
    assert made.body is not None
    assert decode(made.body).size == (30, 30)


def test_transparency_is_kept(tmp_path: Path):
    data = encode(Image.new("RGBA", (400, 400), (255, 0, 0, 0)), "PNG")
    made = make(tmp_path, data, 32, 32)
    assert made.content_type == "image/png"
    assert made.body is not None
    assert decode(made.body).getpixel((5, 5))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_other_colour_models_become_ordinary_ones(tmp_path: Path, mode: str):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    made = make(tmp_path, picture(400, 400, kind, mode), 32, 32)
    assert made.body is not None
    assert decode(made.body).mode == "RGB"


def test_what_a_camera_held_sideways_stands_upright(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.open(_file(tmp_path, picture(600, 400))).transpose(Image.Transpose.ROTATE_90)
    made = make(tmp_path, encode(lying, "JPEG", exif=exif, quality=95), 320, 240)
    assert made.body is not None
    small = decode(made.body)
    assert small.size == (320, 213)
    assert colours(small) == UPRIGHT
    assert 0x0112 not in small.getexif()


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "lying"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_film_moves_only_where_that_was_asked_for(tmp_path: Path, kind: str):
    data = film(400, 300, 5, kind)
    still = make(tmp_path, data, 100, 100)
    assert still.body is not None
    assert getattr(decode(still.body), "n_frames", 1) == 1
    moving = make(tmp_path, data, 100, 100, animated=True)
    assert moving.content_type == "image/webp"
    assert moving.body is not None
    assert decode(moving.body).n_frames == 5
    assert decode(moving.body).size == (100, 75)


def test_a_small_film_is_not_answered_as_it_is_unless_it_may_move(tmp_path: Path):
    data = film(40, 30, 5)
    still = make(tmp_path, data, 100, 100)
    assert still.body is not None
    assert getattr(decode(still.body), "n_frames", 1) == 1
    assert make(tmp_path, data, 100, 100, animated=True) == Thumbnail("image/gif", None)


def test_a_film_that_is_too_long_stands_still(tmp_path: Path):
    long = make(tmp_path, film(40, 30, 510), 20, 20, animated=True)
    large = make(tmp_path, film(200, 200, 20), 100, 100, animated=True, most=50_000)
    for made in (long, large):
        assert made.body is not None
        assert getattr(decode(made.body), "n_frames", 1) == 1


def test_a_film_whose_frames_are_much_to_decode_stands_still(tmp_path: Path):
    data = film(400, 400, 20)
    for most, frames in ((400_001, 20), (399_000, 1)):
        made = make(tmp_path, data, 20, 20, animated=True, most=most)
        assert made.body is not None
        assert getattr(decode(made.body), "n_frames", 1) == frames


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path):
    data = picture(1_000, 1_000)
    assert make(tmp_path, data, 32, 32, most=1_000_000).body is not None
    with pytest.raises(TooManyPixels):
        make(tmp_path, data, 32, 32, most=999_999)


def test_a_header_that_promises_far_too_much_is_refused(tmp_path: Path):
    data = bytearray(picture(10, 10))
    data[16:24] = (60_000).to_bytes(4) + (60_000).to_bytes(4)
    with pytest.raises((TooManyPixels, NoImage)):
        make(tmp_path, bytes(data), 32, 32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_broken_images_are_no_images_wherever_they_break(tmp_path: Path, kind: str):
    data = picture(300, 300, kind)
    for length in range(0, len(data) - 20, max(1, len(data) // 40)):
        try:
            made = make(tmp_path, data[:length], 32, 32)
        except NoImage:
            continue
        assert made.body is not None
    damaged = bytearray(data)
    for place in range(30, len(data), max(1, len(data) // 40)):
        damaged[place] ^= 0xFF
        try:
            make(tmp_path, bytes(damaged), 32, 32)
        except (NoImage, TooManyPixels):
            continue


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.4 ...",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        encode(Image.new("RGB", (50, 50)), "TIFF"),
    ],
)
def test_what_is_not_one_of_the_known_kinds_is_refused(tmp_path: Path, data: bytes):
    with pytest.raises(NoImage):
        make(tmp_path, data, 32, 32)
