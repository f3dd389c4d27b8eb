"""What thumbnail is asked for, by clients and by other servers alike."""

from ranvier.http.request import Request
from ranvier.media.thumbnail_plans import Box, Method
from ranvier.protocol.refusal import invalid_param

_LARGEST_SIDE = 65_535


def thumbnail_parameters(request: Request) -> tuple[Box, Method, bool]:
    """The size, how to get there, and whether it may move. Raises `Refusal`."""
    for name in ("width", "height"):
        request.query_required(name)
    wanted = Box(*(request.query_int(name, 1, least=1, most=_LARGEST_SIDE) for name in ("width", "height")))
    return wanted, _method(request.query("method")), request.query_bool("animated")


def _method(text: str | None) -> Method:
    if text is None or text == "scale":
        return "scale"
    if text == "crop":
        return "crop"
    raise invalid_param("The query parameter 'method' must be 'crop' or 'scale'.")
