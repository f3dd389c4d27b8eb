"""How large thumbnails become."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ranvier.media.thumbnail_plans import Box, Method, ThumbnailSize, choose_box, plan

SIZES = [
    ThumbnailSize(32, 32, "crop"),
    ThumbnailSize(96, 96, "crop"),
    ThumbnailSize(320, 240, "scale"),
    ThumbnailSize(640, 480, "scale"),
    ThumbnailSize(800, 600, "scale"),
]
sides = st.integers(1, 5_000)
boxes = st.builds(Box, sides, sides)
methods: st.SearchStrategy[Method] = st.sampled_from(["crop", "scale"])


@pytest.mark.parametrize(
    ("wanted", "method", "box"),
    [
        ((32, 32), "crop", (32, 32)),
        ((33, 33), "crop", (96, 96)),
        ((100, 100), "crop", (320, 320)),
        ((300, 100), "crop", (320, 107)),
        ((900, 900), "crop", None),
        ((1, 1), "scale", (320, 240)),
        ((320, 240), "scale", (320, 240)),
        ((321, 1), "scale", (640, 480)),
        ((240, 320), "scale", (640, 480)),
        ((801, 1), "scale", None),
    ],
)
def test_the_smallest_kept_size_that_is_not_smaller_is_taken(
    wanted: tuple[int, int], method: Method, box: tuple[int, int] | None
):
    assert choose_box(Box(*wanted), method, SIZES, exact=False) == box


def test_exact_sizes_are_taken_as_they_are():
    assert choose_box(Box(123, 7), "crop", SIZES, exact=True) == (123, 7)


@given(boxes, boxes, methods, st.booleans())
def test_a_thumbnail_is_never_larger_than_what_it_shows(
    source: Box, wanted: Box, method: Method, exact: bool
):
    box = choose_box(wanted, method, SIZES, exact=exact)
    made = plan(source, box or wanted, box, method)
    assume(made is not None)
    assert made is not None
    left, top, right, bottom = made.region
    assert 0 <= left < right <= source.width
    assert 0 <= top < bottom <= source.height
    assert 1 <= made.size.width <= right - left
    assert 1 <= made.size.height <= bottom - top


@given(boxes, boxes, methods, st.booleans())
def test_a_thumbnail_is_only_smaller_than_asked_for_where_the_image_is(
    source: Box, wanted: Box, method: Method, exact: bool
):
    box = choose_box(wanted, method, SIZES, exact=exact)
    made = plan(source, box or wanted, box, method)
    size = source if made is None else made.size
    if method == "scale":
        # One side at least reaches the wish, or the image is whole.
        assert size == source or size.width >= wanted.width or size.height >= wanted.height
    elif source.width >= wanted.width and source.height >= wanted.height:
        assert size.width >= wanted.width - 1
        assert size.height >= wanted.height - 1


@given(boxes, boxes)
def test_scaling_keeps_the_shape(source: Box, wanted: Box):
    box = choose_box(wanted, "scale", SIZES, exact=False)
    made = plan(source, wanted, box, "scale")
    assume(made is not None)
    assert made is not None
    assert made.region == (0, 0, *source)
    # A side is off by half a pixel at most.
    assert abs(made.size.width * source.height - made.size.height * source.width) <= max(source)


@given(boxes, st.builds(Box, st.integers(1, 800), st.integers(1, 800)))
def test_cropping_gives_the_shape_that_was_asked_for(source: Box, wanted: Box):
    assume(min(source) >= 50 and 0.25 <= wanted.width / wanted.height <= 4 and min(wanted) >= 20)
    box = choose_box(wanted, "crop", SIZES, exact=False)
    assert box is not None
    made = plan(source, box, box, "crop")
    assume(made is not None)
    assert made is not None
    shape = made.size.width / made.size.height
    assert abs(shape / (wanted.width / wanted.height) - 1) < 0.12


def test_a_small_image_stays_as_it_is():
    for method in ("crop", "scale"):
        assert plan(Box(32, 20), Box(32, 32), Box(32, 32), method) is None  # type: ignore[arg-type]
    assert plan(Box(4_000, 3_000), Box(1_000, 1_000), None, "scale") is None
