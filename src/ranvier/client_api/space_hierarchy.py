"""The rooms below a space."""

from ranvier.http.endpoints import Answer, endpoint
from ranvier.http.request import Request
from ranvier.protocol.space_hierarchy import MAX_DEPTH
from ranvier.rooms.hierarchy import MAX_ROOMS, Hierarchies, HierarchyRequest


@endpoint("GET", "/_matrix/client/v1/rooms/{roomId}/hierarchy", rate_limit="other")
async def get_space_hierarchy(request: Request, hierarchies: Hierarchies) -> Answer:
    """A part of the tree, depth first."""
    depth = request.query_int("max_depth", MAX_DEPTH, most=MAX_DEPTH)
    wanted = HierarchyRequest(
        request.requester.user_id,
        request.parameters["roomId"],
        depth,
        request.query_bool("suggested_only"),
    )
    limit = request.query_int("limit", MAX_ROOMS, least=1, most=MAX_ROOMS)
    rooms, token = await hierarchies.page(wanted, limit, request.query("from") or None)
    return {"rooms": rooms, **({"next_batch": token} if token is not None else {})}
