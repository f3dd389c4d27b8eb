"""The content repository over HTTP."""

import asyncio
import os
from typing import Any

import pytest
from tests.http_client import Response, path_of
from tests.media.images_made import decode, film, picture
from tests.server import Server, UserClient

UPLOAD = "/_matrix/media/v3/upload"
DOWNLOAD = "_matrix/client/v1/media/download"
THUMBNAIL = "_matrix/client/v1/media/thumbnail"
LEGACY = "_matrix/media/v3/download"
LARGEST = 2_000_000


@pytest.fixture
def server_overrides() -> dict[str, Any]:
    return {"max_upload_size": LARGEST, "max_image_pixels": 4_000_000, "max_pending_media_uploads": 2}


async def upload(
    client: UserClient, data: bytes, content_type: str | None = None, filename: str | None = None
) -> list[str]:
    """Upload; answers server name and media id."""
    answer = await client.request(
        "POST",
        UPLOAD,
        body=data,
        query={"filename": filename} if filename is not None else None,
        headers={"Content-Type": content_type} if content_type is not None else None,
    )
    return parts_of(answer.ok()["content_uri"])


def parts_of(uri: str) -> list[str]:
    assert uri.startswith("mxc://")
    return uri.removeprefix("mxc://").split("/")


async def download(client: UserClient, parts: list[str], *more: str, **options: Any) -> Response:
    return await client.get(path_of(DOWNLOAD, *parts, *more), **options)


async def thumbnail(client: UserClient, parts: list[str], width: int, height: int, **query: Any) -> Response:
    return await client.get(path_of(THUMBNAIL, *parts), query={"width": width, "height": height, **query})


async def test_what_was_uploaded_is_downloaded_by_anybody_who_is_logged_in(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    data = os.urandom(1_000_000)
    parts = await upload(alice, data, "application/pdf", "War and Peace.pdf")
    answer = await download(bob, parts)
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="War and Peace.pdf"'
    assert answer.headers["Content-Length"] == str(len(data))
    refused = await server.client.get(path_of(DOWNLOAD, *parts), valid=False)
    assert (refused.status, refused.errcode) == (401, "M_MISSING_TOKEN")


async def test_content_comes_in_a_sandbox(server: Server):
    alice = await server.register("alice")
    for kind in ("text/html", "image/svg+xml", "image/png"):
        parts = await upload(alice, b"<script>alert(1)</script>", kind)
        headers = (await download(alice, parts)).headers
        assert headers["Content-Security-Policy"].startswith(
            "sandbox; default-src 'none'; script-src 'none';"
        )
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        assert headers["Cache-Control"].startswith("private")
        expected = "inline" if kind == "image/png" else "attachment"
        assert headers["Content-Disposition"] == expected


async def test_a_type_is_optional_and_parameters_of_it_don_t_make_it_unsafe(server: Server):
    alice = await server.register("alice")
    plain = await download(alice, await upload(alice, b"x", "Text/Plain; charset=utf-8"))
    assert plain.headers["Content-Type"] == "Text/Plain; charset=utf-8"
    assert plain.headers["Content-Disposition"] == "inline"
    unsaid = await download(alice, await upload(alice, b"x"))
    assert unsaid.headers["Content-Type"] == "application/octet-stream"
    assert unsaid.headers["Content-Disposition"] == "attachment"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.txt", 'filename="a.txt"'),
        ('say "hi"\\.txt', 'filename="say \\"hi\\"\\\\.txt"'),
        (
            "наклейка; filename=x.png",
            "filename*=UTF-8''%D0%BD%D0%B0%D0%BA%D0%BB%D0%B5%D0%B9%D0%BA%D0%B0%3B%20filename%3Dx.png",
        ),
        ("two\r\nX-Lines: 1", "filename*=UTF-8''two%0D%0AX-Lines%3A%201"),
    ],
)
async def test_file_names_survive_whatever_they_hold(server: Server, name: str, header: str):
    alice = await server.register("alice")
    named = await upload(alice, b"x", "image/png", name)
    unnamed = await upload(alice, b"x", "image/png", "another")
    for answer in (await download(alice, named), await download(alice, unnamed, name)):
        assert answer.headers["Content-Disposition"] == f"inline; {header}"
        assert "X-Lines" not in answer.headers


async def test_files_that_are_too_large_are_refused_however_they_come(server: Server):
    alice = await server.register("alice")
    await upload(alice, b"x" * LARGEST)
    refused = await alice.request("POST", UPLOAD, body=b"x" * (LARGEST + 1))
    assert (refused.status, refused.errcode) == (413, "M_TOO_LARGE")

    async def pieces():
        for _ in range(LARGEST // 100_000 + 1):
            yield b"x" * 100_000

    chunked = await alice._session.post(
        f"{server.base_url}{UPLOAD}", data=pieces(), headers={"Authorization": f"Bearer {alice.token}"}
    )
    assert chunked.status == 413
    assert (await chunked.json())["errcode"] == "M_TOO_LARGE"
    for path in ("/_matrix/client/v1/media/config", "/_matrix/media/v3/config"):
        assert (await alice.get(path)).ok() == {"m.upload.size": LARGEST}


async def test_what_is_unknown_is_not_found(server: Server):
    alice = await server.register("alice")
    for parts in (
        ["ranvier.test", "unknown"],
        ["ranvier.test", "..%2F..%2Fetc"],
        ["ranvier.test", "x" * 300],
    ):
        answer = await download(alice, parts)
        assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")
    # A server that can't be reached may have it: the client can ask again.
    assert (await download(alice, ["elsewhere.invalid", "abc"])).status == 502


async def test_new_content_is_only_for_those_with_a_token(server: Server):
    alice = await server.register("alice")
    parts = await upload(alice, picture(50, 50), "image/png")
    for path in (
        path_of(LEGACY, *parts),
        path_of("_matrix/media/v3/thumbnail", *parts) + "?width=9&height=9",
    ):
        answer = await alice.get(path)
        assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")


async def test_stretches_of_files_are_answered(server: Server):
    alice = await server.register("alice")
    data = os.urandom(600_000)
    parts = await upload(alice, data, "video/mp4")
    tag = (await download(alice, parts)).headers["ETag"]
    url = server.base_url + path_of(DOWNLOAD, *parts)

    async def ask(**headers: str) -> tuple[int, bytes, str | None]:
        sent = {"Authorization": f"Bearer {alice.token}", **headers}
        async with alice._session.get(url, headers=sent) as answer:
            return answer.status, await answer.read(), answer.headers.get("Content-Range")

    size = len(data)
    assert await ask(Range="bytes=0-9") == (206, data[:10], f"bytes 0-9/{size}")
    assert await ask(Range="bytes=500000-") == (206, data[500_000:], f"bytes 500000-599999/{size}")
    assert await ask(Range="bytes=599990-700000") == (206, data[-10:], f"bytes 599990-599999/{size}")
    assert await ask(Range="bytes=-10") == (206, data[-10:], f"bytes 599990-599999/{size}")
    assert await ask(Range="bytes=0-9", **{"If-Range": tag}) == (206, data[:10], f"bytes 0-9/{size}")
    for whole in (
        {"Range": "bytes=9-0"},
        {"Range": "bytes=0-9,20-29"},
        {"Range": "bytes=-"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=0-9", "If-Range": '"other"'},
    ):
        assert await ask(**whole) == (200, data, None)
    assert (await ask(Range="bytes=600000-"))[0] == 416
    assert (await ask(Range="bytes=-0"))[0] == 416
    assert await ask(**{"If-None-Match": tag}) == (304, b"", None)
    assert (await ask(**{"If-None-Match": '"other"'}))[0] == 200


async def test_thumbnails_are_made_and_are_the_same_again(server: Server):
    alice = await server.register("alice")
    parts = await upload(alice, picture(1_000, 800, "JPEG"), "image/jpeg")
    scaled = await thumbnail(alice, parts, 320, 240, method="scale")
    assert scaled.headers["Content-Type"] == "image/jpeg"
    assert scaled.headers["Content-Disposition"] == 'inline; filename="thumbnail.jpg"'
    assert decode(scaled.body).size == (300, 240)
    cropped = await asyncio.gather(*(thumbnail(alice, parts, 96, 96, method="crop") for _ in range(8)))
    assert {decode(answer.body).size for answer in cropped} == {(96, 96)}
    assert (await thumbnail(alice, parts, 320, 240)).body == scaled.body
    whole = await thumbnail(alice, parts, 2_000, 2_000)
    assert whole.body == (await download(alice, parts)).body


async def test_a_thumbnail_moves_if_that_is_asked_for(server: Server):
    alice = await server.register("alice")
    parts = await upload(alice, film(400, 300, 4), "image/gif")
    still = await thumbnail(alice, parts, 100, 100, animated="false")
    assert getattr(decode(still.body), "n_frames", 1) == 1
    moving = await thumbnail(alice, parts, 100, 100, animated="true")
    assert moving.headers["Content-Type"] == "image/webp"
    assert decode(moving.body).n_frames == 4


async def test_what_has_no_thumbnail_says_why(server: Server):
    alice = await server.register("alice")
    text = await upload(alice, b"no image", "image/png")
    answer = await thumbnail(alice, text, 32, 32)
    assert (answer.status, answer.errcode) == (400, "M_UNKNOWN")
    huge = await upload(alice, picture(2_500, 2_000), "image/png")
    answer = await thumbnail(alice, huge, 32, 32)
    assert (answer.status, answer.errcode) == (413, "M_TOO_LARGE")
    answer = await thumbnail(alice, ["ranvier.test", "unknown"], 32, 32)
    assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({"width": 32}, "M_MISSING_PARAM"),
        ({"width": 0, "height": 32}, "M_INVALID_PARAM"),
        ({"width": -5, "height": 32}, "M_INVALID_PARAM"),
        ({"width": "x", "height": 32}, "M_INVALID_PARAM"),
        ({"width": 32, "height": 32, "method": "stretch"}, "M_INVALID_PARAM"),
        ({"width": 32, "height": 32, "animated": "perhaps"}, "M_INVALID_PARAM"),
    ],
)
async def test_thumbnails_of_no_size_are_refused(server: Server, query: dict[str, Any], errcode: str):
    alice = await server.register("alice")
    parts = await upload(alice, picture(50, 50), "image/png")
    answer = await alice.get(path_of(THUMBNAIL, *parts), query=query, valid=False)
    assert (answer.status, answer.errcode) == (400, errcode)


async def test_kept_thumbnails_of_one_image_are_bounded(server: Server):
    alice = await server.register("alice")
    parts = await upload(alice, picture(800, 800), "image/png")
    for height in range(1, 60):
        answer = await thumbnail(alice, parts, 60, height, method="crop")
        assert decode(answer.body).width == 96
    kept = [path for path in (server.config.media.path / "thumbnails").rglob("*") if path.is_file()]
    assert len(kept) == 32


async def create(client: UserClient) -> list[str]:
    return parts_of((await client.post("/_matrix/media/v1/create")).ok()["content_uri"])


async def fill(client: UserClient, parts: list[str], data: bytes) -> Response:
    return await client.request("PUT", path_of("_matrix/media/v3/upload", *parts), body=data)


async def test_announced_content_can_be_waited_for(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    parts = await create(alice)
    at_once = await download(bob, parts, query={"timeout_ms": 0})
    assert (at_once.status, at_once.errcode) == (504, "M_NOT_YET_UPLOADED")
    waiting = asyncio.create_task(download(bob, parts, query={"timeout_ms": 20_000}))
    await asyncio.sleep(0.1)
    (await fill(alice, parts, b"here")).ok()
    async with asyncio.timeout(5):
        assert (await waiting).body == b"here"


async def test_content_is_uploaded_once_and_by_who_announced_it(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    parts = await create(alice)
    refused = await fill(bob, parts, b"bob's")
    assert (refused.status, refused.errcode) == (403, "M_FORBIDDEN")
    both = await asyncio.gather(fill(alice, parts, b"one"), fill(alice, parts, b"two"))
    assert sorted(answer.status for answer in both) == [200, 409]
    again = await fill(alice, parts, b"three")
    assert (again.status, again.errcode) == (409, "M_CANNOT_OVERWRITE_MEDIA")
    kept = (b"one", b"two")[[answer.status for answer in both].index(200)]
    assert (await download(bob, parts)).body == kept
    unknown = await fill(alice, ["ranvier.test", "unknown"], b"x")
    assert (unknown.status, unknown.errcode) == (404, "M_NOT_FOUND")


async def test_a_user_announces_a_bounded_number(server: Server):
    alice, bob = await server.register("alice"), await server.register("bob")
    first, _ = await create(alice), await create(alice)
    refused = await alice.post("/_matrix/media/v1/create")
    assert (refused.status, refused.errcode) == (429, "M_LIMIT_EXCEEDED")
    assert 0 < refused.json["retry_after_ms"] <= 24 * 3600 * 1000
    await create(bob)
    (await fill(alice, first, b"x")).ok()
    await create(alice)
