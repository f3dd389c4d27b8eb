"""Spaces, for other servers."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.rooms.peer_summaries import PeerSummaries


@endpoint("GET", "/_matrix/federation/v1/hierarchy/{roomId}", access="server")
async def get_space_hierarchy(request: Request, summaries: PeerSummaries) -> Answer:
    """A room and its children."""
    return await summaries.hierarchy(
        request.origin, request.parameters["roomId"], suggested_only=request.query_bool("suggested_only")
    )
