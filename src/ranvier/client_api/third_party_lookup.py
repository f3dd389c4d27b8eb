"""Networks that bridges lead to. No bridge is known here, so there is none to be found."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.http.response import Response
from ranvier.protocol.refusal import Refusal, not_found

_PATH = "/_matrix/client/v3/thirdparty"


@endpoint("GET", _PATH + "/protocols")
async def get_protocols(request: Request) -> Answer:
    """The networks."""
    return {}


@endpoint("GET", _PATH + "/protocol/{protocol}")
async def get_protocol_metadata(request: Request) -> Answer:
    """One network."""
    raise _unknown(request)


@endpoint("GET", _PATH + "/location/{protocol}")
async def query_location_by_protocol(request: Request) -> Answer:
    """Rooms that lead to a place in a network."""
    raise _unknown(request)


@endpoint("GET", _PATH + "/user/{protocol}")
async def query_user_by_protocol(request: Request) -> Answer:
    """Users who stand for somebody in a network."""
    raise _unknown(request)


@endpoint("GET", _PATH + "/location")
async def query_location_by_alias(request: Request) -> Answer:
    """Places in networks that an alias leads to."""
    request.query_required("alias")
    return Response(200, b"[]")


@endpoint("GET", _PATH + "/user")
async def query_user_by_id(request: Request) -> Answer:
    """People in networks for whom a user stands."""
    request.query_required("userid")
    return Response(200, b"[]")


def _unknown(request: Request) -> Refusal:
    return not_found(f"This server has no bridge to {request.parameters['protocol'][:100]}.")
