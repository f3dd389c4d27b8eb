"""The threads of a room."""

from typing import Literal

from ranvier.client_api.room_parameters import reader_of
from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.refusal import invalid_param
from ranvier.rooms.related import Related
from ranvier.rooms.shaping import Shapes

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@endpoint("GET", "/_matrix/client/v1/rooms/{roomId}/threads", rate_limit="other")
async def get_thread_roots(request: Request, related: Related, shapes: Shapes) -> Answer:
    """Roots of threads, those with the newest events first."""
    reader = reader_of(request)
    page = await related.threads(
        reader.user_id,
        request.parameters["roomId"],
        include=_include(request),
        token=request.query("from"),
        limit=request.query_int("limit", DEFAULT_LIMIT, least=1, most=MAX_LIMIT),
    )
    parts = [b'{"chunk":[%b]' % b",".join(await shapes.of(page.roots, reader))]
    if page.next_batch is not None:
        parts.append(b',"next_batch":"%b"' % page.next_batch.encode())
    return Response(200, b"".join([*parts, b"}"]))


def _include(request: Request) -> Literal["all", "participated"]:
    include = request.query("include") or "all"
    if include == "all":
        return "all"
    if include != "participated":
        raise invalid_param("'include' must be 'all' or 'participated'.")
    return "participated"
