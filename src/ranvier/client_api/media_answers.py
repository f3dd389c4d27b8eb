"""How content goes over the wire: sandboxed, named, in stretches (Client-Server API, "Content repository")."""

import re
from typing import NamedTuple

from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.http.thumbnail_parameters import thumbnail_parameters
from ranvier.media.dispositions import content_disposition, thumbnail_disposition
from ranvier.media.files import Files
from ranvier.media.repository import OCTETS, Repository, Upload
from ranvier.media.thumbnails import Thumbnails
from ranvier.protocol.refusal import Refusal, invalid_param, not_found
from ranvier.store.media import MediaRow

UPLOAD_BYTES = 1 << 40
"""Of a body at most, before the configuration's own bound."""
_WAIT_MS = 20_000
_NAME_BYTES = 255

_SAFETY = (
    (
        b"content-security-policy",
        b"sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
        b"style-src 'unsafe-inline'; media-src 'self'; object-src 'self';",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")


def upload_of(request: Request) -> Upload:
    """The body that a client uploads, and what it says of it."""
    assert request.stream is not None
    length = request.header(b"content-length")
    return Upload(
        request.stream(),
        int(length) if length is not None and length.isdigit() else None,
        request.header(b"content-type") or OCTETS,
        request.query("filename") or None,
    )


async def find(request: Request, repository: Repository) -> MediaRow:
    """The content that the path names; endpoints without a token find less."""
    return await repository.find(
        request.parameters["serverName"],
        request.parameters["mediaId"],
        authenticated=request.requester_or_none is not None,
        wait_ms=request.query_int("timeout_ms", _WAIT_MS),
        fetch=request.query_bool("allow_remote", True),
    )


async def download(request: Request, repository: Repository, files: Files) -> Response:
    """The content that the path names, under the path's file name if it has one."""
    filename = request.parameters.get("fileName")
    if filename is not None and len(filename.encode()) > _NAME_BYTES:
        raise invalid_param(f"The file name has more than {_NAME_BYTES} bytes.")
    row = await find(request, repository)
    return await _file(request, files, row, row.content_type, content_disposition(row, filename))


async def thumbnail(
    request: Request, repository: Repository, files: Files, thumbnails: Thumbnails
) -> Response:
    """A thumbnail of the content that the path names."""
    wanted, method, animated = thumbnail_parameters(request)
    row = await find(request, repository)
    assert row.sha256 is not None
    made = await thumbnails.get(row.sha256, wanted, method, animated=animated)
    disposition = thumbnail_disposition(made.content_type)
    if made.body is None:
        return await _file(request, files, row, made.content_type, disposition)
    headers = _headers(request, row, made.content_type, disposition)
    return Response(200, made.body, headers)


def _headers(
    request: Request, row: MediaRow, content_type: str, disposition: str
) -> list[tuple[bytes, bytes]]:
    # What an id stands for never changes, but may be taken away.
    scope = b"private" if request.requester_or_none is not None or row.authenticated else b"public"
    return [
        (b"content-type", content_type.encode("ascii")),
        (b"content-disposition", disposition.encode("ascii")),
        (b"cache-control", scope + b", max-age=86400"),
        *_SAFETY,
    ]


async def _file(
    request: Request, files: Files, row: MediaRow, content_type: str, disposition: str
) -> Response:
    """The whole file, the stretch that is asked for, or word that the client has it already."""
    assert row.sha256 is not None
    tag = f'"{row.sha256}"'
    headers = [
        *_headers(request, row, content_type, disposition),
        (b"etag", tag.encode()),
        (b"accept-ranges", b"bytes"),
    ]
    known = request.header(b"if-none-match")
    if known is not None and (known.strip() == "*" or tag in known):
        return Response(304, headers=headers)
    if not await files.holds(row.sha256):
        raise not_found("The content is gone.")
    stretch = _stretch(request, row.size, tag)
    headers.append((b"content-length", b"%d" % stretch.length))
    if stretch.length < row.size:
        last = stretch.start + stretch.length - 1
        headers.append((b"content-range", b"bytes %d-%d/%d" % (stretch.start, last, row.size)))
    status = 206 if stretch.length < row.size else 200
    return Response(status, headers=headers, stream=files.read(row.sha256, *stretch))


class _Stretch(NamedTuple):
    start: int
    length: int


def _stretch(request: Request, size: int, tag: str) -> _Stretch:
    """What part of the file is asked for: one range at most, others are answered in whole (RFC 9110)."""
    whole = _Stretch(0, size)
    asked = _RANGE.match(request.header(b"range") or "")
    if asked is None or request.header(b"if-range") not in (None, tag) or request.method == "HEAD":
        return whole
    first, last = asked.groups()
    if not first:
        length = min(int(last or 0), size)
        if not last:
            return whole
        start = size - length
    else:
        start = int(first)
        if last and int(last) < start:
            return whole
        length = min(int(last) + 1 if last else size, size) - start
    if length <= 0:
        raise Refusal("M_INVALID_PARAM", f"The file has {size} bytes: there is no such range.", status=416)
    return _Stretch(start, length)
