"""Content of this server's users, for other servers.

Source: Server-Server API, "Content Repository": an answer of two parts, JSON and the content.
"""

import secrets
from collections.abc import AsyncIterator

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.http.thumbnail_parameters import thumbnail_parameters
from ranvier.media.dispositions import content_disposition, thumbnail_disposition
from ranvier.media.files import Files
from ranvier.media.repository import Repository
from ranvier.media.thumbnails import Thumbnails
from ranvier.store.media import MediaRow

_MEDIA = "/_matrix/federation/v1/media"
_WAIT_MS = 20_000


@endpoint("GET", _MEDIA + "/download/{mediaId}", access="server", rate_limit="media")
async def get_content(request: Request, repository: Repository, files: Files) -> Answer:
    """Download content."""
    row = await _find(request, repository)
    assert row.sha256 is not None
    return _in_parts(row.content_type, content_disposition(row), files.read(row.sha256, 0, row.size))


@endpoint("GET", _MEDIA + "/thumbnail/{mediaId}", access="server", rate_limit="media")
async def get_content_thumbnail(
    request: Request, repository: Repository, files: Files, thumbnails: Thumbnails
) -> Answer:
    """Download a thumbnail of content."""
    wanted, method, animated = thumbnail_parameters(request)
    row = await _find(request, repository)
    assert row.sha256 is not None
    made = await thumbnails.get(row.sha256, wanted, method, animated=animated)
    body = _whole(made.body) if made.body is not None else files.read(row.sha256, 0, row.size)
    return _in_parts(made.content_type, thumbnail_disposition(made.content_type), body)


async def _find(request: Request, repository: Repository) -> MediaRow:
    wait_ms = request.query_int("timeout_ms", _WAIT_MS)
    return await repository.find_own(request.parameters["mediaId"], wait_ms=wait_ms)


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _in_parts(content_type: str, disposition: str, body: AsyncIterator[bytes]) -> Response:
    boundary = secrets.token_hex(16).encode()

    async def stream() -> AsyncIterator[bytes]:
        yield b"--%b\r\nContent-Type: application/json\r\n\r\n{}\r\n--%b\r\n" % (boundary, boundary)
        yield b"Content-Type: %b\r\nContent-Disposition: %b\r\n\r\n" % (
            content_type.encode("ascii"),
            disposition.encode("ascii"),
        )
        async for piece in body:
            yield piece
        yield b"\r\n--%b--\r\n" % boundary

    kind = b"multipart/mixed; boundary=%b" % boundary
    return Response(200, headers=[(b"content-type", kind)], stream=stream())
